"""Resolves loads: names and checks rows, asks the target which it has, assigns ids, and plans the writes."""
