"""Measured while it happens: spans, counts, memory, and one state of it all."""
