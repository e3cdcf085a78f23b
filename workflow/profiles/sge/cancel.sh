#!/bin/sh
# Ends jobs of Grid Engine, by their numbers. Beside Snakemake, which gives up after two seconds.
qdel "$@" > /dev/null 2>&1 &
