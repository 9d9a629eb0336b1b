"""Read and write databases; no other package knows the name of a dialect."""
