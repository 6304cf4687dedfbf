"""Plan, run, record, schedule and serve op jobs."""
