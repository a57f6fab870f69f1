"""simonw/llm's logs, both generations."""
