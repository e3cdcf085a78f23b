"""The separation benchmark: how far recipes separate common from salient factors, on cohorts with known factors."""
