"""The transaction of a run, or of each of its stages: lock, write, remember, commit; try again."""
