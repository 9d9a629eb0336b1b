"""Writes what was resolved, in one transaction or in one for each stage: lock, write, remember, commit."""
