"""What users define: ops, graphs, jobs and what goes with them. Import from ``opgrid``."""
