"""Notebooks: what they are asked, run in, given, and leave behind."""
