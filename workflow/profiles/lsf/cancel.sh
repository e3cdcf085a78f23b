#!/bin/sh
# Ends jobs of LSF, by their numbers. Beside Snakemake, which gives up after two seconds.
bkill "$@" > /dev/null 2>&1 &
