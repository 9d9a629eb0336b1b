"""Told in text: values in, lines out."""
