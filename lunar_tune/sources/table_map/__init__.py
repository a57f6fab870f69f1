"""Anyone's tables, mapped by a few lines of TOML."""
