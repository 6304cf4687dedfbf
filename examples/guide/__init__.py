"""The op jobs guide of Dagster, with its import line changed and nothing else."""
