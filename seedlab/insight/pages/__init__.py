"""Told as Markdown and HTML."""
