"""The address of the web pages."""

from __future__ import annotations

import click
import pytest

from orchestrator.cli.web import listening


def test_an_address_is_taken_from_the_moment_it_is_given() -> None:
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(click.UsageError, match=f"Cannot listen at 127.0.0.1:{port}.*Choose another --port"):
            listening("127.0.0.1", port)
