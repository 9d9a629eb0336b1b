"""Formats runs, plans, comparisons, profiles and histories as Markdown and HTML."""
