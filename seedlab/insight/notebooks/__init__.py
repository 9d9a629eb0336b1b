"""Runs notebooks as reports: their parameters, kernels, values and published summaries."""
