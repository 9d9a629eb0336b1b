"""What tests of several modules share: projects, schemas, runs, and how to look at their results."""
