"""What readers share: cells, conversations, trees, forks, JSONL files, message shapes."""
