"""Benchmarks, run by hand: speed and memory (`make bench`, docs/speed.md), and the figures of other pages of docs."""
