"""AnythingLLM."""
