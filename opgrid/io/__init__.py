"""Where values go between steps: memory, filesystem, Redis, or the user's own managers."""
