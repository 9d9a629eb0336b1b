"""In memory: files to frames with every id known; polars only."""
