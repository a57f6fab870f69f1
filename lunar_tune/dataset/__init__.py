"""Datasets on disk: rows by split, what was left out, a data card and a manifest."""
