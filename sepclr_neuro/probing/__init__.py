"""Predictions from held-out representations, and their tables."""
