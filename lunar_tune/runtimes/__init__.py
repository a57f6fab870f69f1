"""What answers or scores a prompt. Each runtime is a module of its own; nothing is imported here."""
