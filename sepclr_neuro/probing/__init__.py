"""What held-out representations predict, and the tables of it."""
