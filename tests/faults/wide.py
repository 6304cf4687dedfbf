"""How wide the widest job of the suite is."""

WIDE = 2000
