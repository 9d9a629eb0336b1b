"""Measures a run while it happens: spans, counts, memory, progress."""
