"""Read data files of every format into frames of text, and find the line of each row again."""
