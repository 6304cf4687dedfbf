"""The shape of the largest job of the suite."""

WIDE = 1000
DEEP = 10
