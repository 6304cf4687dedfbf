"""The commands of the orchestrator: parse, call a service, print."""
