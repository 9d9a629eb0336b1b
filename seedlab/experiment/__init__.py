"""Runs that are made to learn from: profiles and comparisons, in databases of their own."""
