"""Resolves loads: names and checks rows, asks the target which it has, settles ids, and plans the writes."""
