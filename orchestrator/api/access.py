"""Who asks, and what they may do."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from opgrid.errors import SettingsError
from orchestrator.sections import Web


class Role(IntEnum):
    """Each may do what those before it may."""

    VIEWER = 1  #: look
    LAUNCHER = 2  #: launch, repeat and cancel runs; start and stop what launches them
    ADMIN = 3  #: delete, and change what holds for all


@dataclass(frozen=True, slots=True)
class Viewer:
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        return self.role >= role


LOCAL = Viewer("local", Role.ADMIN)


class Access:
    """The tokens of an installation. Without any, everybody who reaches it may do everything."""

    def __init__(self, settings: Web, read_only: bool = False, environ: Mapping[str, str] = os.environ) -> None:
        """Raises SettingsError for a token that is to come from an environment variable that is not set, and for one
        that no header takes as it is.
        """
        self._read_only = read_only
        self._known: list[tuple[bytes, Viewer]] = []
        for given in settings.tokens:
            token = given.token
            if token.startswith("env:"):
                token = environ.get(token[4:], "")
            if not token:
                raise SettingsError(f"The web token {given.name!r} is empty: {given.token} is not set.")
            self._add(token, Viewer(given.name, Role[given.role.upper()]))
        if own := environ.get("OPGRID_WEB_TOKEN"):
            self._add(own, Viewer("OPGRID_WEB_TOKEN", Role.ADMIN))

    def _add(self, token: str, viewer: Viewer) -> None:
        if not (token.isascii() and token.isprintable() and token == token.strip()):
            raise SettingsError(
                f"The web token {viewer.name!r} cannot be sent in a header: it has other characters than those of "
                "ASCII, or begins or ends with a space or a line break."
            )
        self._known.append((token.encode(), viewer))

    @property
    def is_open(self) -> bool:
        """No token is asked for."""
        return not self._known

    def viewer(self, token: str | None) -> Viewer | None:
        """Whose token it is; None for nobody's."""
        found = LOCAL if self.is_open else self._match((token or "").encode())
        if found is not None and self._read_only:
            return Viewer(found.name, Role.VIEWER)
        return found

    def _match(self, token: bytes) -> Viewer | None:
        found = None
        for known, viewer in self._known:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, token):
                found = viewer
        return found
