"""Runs and their logs in SQLite or PostgreSQL."""
