"""Kept: what a run or a profile was, as JSON, and found again."""
