"""Stages large loads on several connections: a coordinator, workers, and the executors that run them."""
