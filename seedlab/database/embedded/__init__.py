"""Run PostgreSQL for users who have no server: find its programs, create a cluster, start and stop it."""
