"""From a job as data to a plan: pure, without user code and without a clock."""
