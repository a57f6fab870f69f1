"""opencode, both generations."""
