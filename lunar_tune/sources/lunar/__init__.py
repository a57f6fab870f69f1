"""Lunar's own log."""
