"""Where versions live and where the agent finds the current one: Ollama or this workspace. Nothing is imported here."""
