"""Agno."""
