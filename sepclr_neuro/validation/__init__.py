"""Benchmarks whose truth is known: digits on objects, and cohorts with known factors."""
