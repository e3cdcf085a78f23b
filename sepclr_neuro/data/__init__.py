"""From tables and volumes to one cohort, one array, and folds."""
