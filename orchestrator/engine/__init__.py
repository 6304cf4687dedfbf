"""From a plan to a run: the machine that decides, and the one loop that records and obeys."""
