"""Experiments that run seeds in databases of their own: profiles, comparisons, and clones for tests."""
