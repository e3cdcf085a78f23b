"""The whole workflow, by Snakemake."""
