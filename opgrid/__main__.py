"""``python -m opgrid`` is ``opgrid``."""

from opgrid.cli import main

main()
