"""Measurements beside others in one run. Never part of the tests: a busy machine would make them lie."""
