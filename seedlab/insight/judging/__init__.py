"""Judged: what is slower, usual, in the way, or to be expected."""
