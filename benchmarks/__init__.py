"""Timed comparisons, run by hand: `make bench`. Memory is kept as the command line keeps it (docs/speed.md)."""

from sepclr_neuro import devices

devices.keep_freed_memory()
