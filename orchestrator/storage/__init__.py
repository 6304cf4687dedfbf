"""What a coordinator remembers: runs, their plans, and the log of everything that happened."""
