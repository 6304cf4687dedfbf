"""Running one step, the same in every executor."""
