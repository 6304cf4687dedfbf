"""The service that drives runs: the queue, who drives what, taking over."""
