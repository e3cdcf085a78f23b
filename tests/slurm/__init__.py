"""The whole workflow, by Snakemake on SLURM."""
