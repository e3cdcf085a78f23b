"""The command line and what surrounds a run."""
