"""What happened: runs measured, kept, shown."""
