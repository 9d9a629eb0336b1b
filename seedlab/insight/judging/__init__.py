"""Judges measurements: comparisons, trends, bottlenecks, recommendations, predictions."""
