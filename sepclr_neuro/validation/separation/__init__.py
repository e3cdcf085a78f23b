"""The ground-truth benchmark: how far recipes separate, on cohorts whose factors are known."""
