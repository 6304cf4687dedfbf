"""How the address of a database is shown."""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.engine import make_url


def without_password(address: str | URL) -> str:
    """It may stand among the parameters, too. Raises sqlalchemy.exc.ArgumentError."""
    return make_url(address).difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)
