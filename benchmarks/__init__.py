"""What is measured by hand: speed and memory by `make bench` (docs/speed.md), and the figures of other pages of docs.

Memory is kept as the command line keeps it.
"""

from sepclr_neuro import devices

devices.keep_freed_memory()
