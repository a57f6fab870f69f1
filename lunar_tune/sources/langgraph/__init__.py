"""LangGraph's SqliteSaver."""
