"""Out: the only room that knows a dialect's name."""
