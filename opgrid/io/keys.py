"""The secret keys that sign what is stored and sent: which one signs, which ones are still believed.

``OPGRID_SECRET_KEY`` (or the file that ``OPGRID_SECRET_KEY_FILE`` names) holds one or several keys, separated by
commas: the first signs, all verify. Without either, a key is made once in ``OPGRID_HOME``, readable by its owner
alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

from opgrid.errors import PayloadRejected, SettingsError

KEY_FILE: Final = "secret.key"
MAC_SIZE: Final = 32
ID_SIZE: Final = 8
_SHORTEST = 16


class KeyRing:
    """Signs with its first key and believes all of them."""

    def __init__(self, secret: bytes, *older: bytes) -> None:
        self._secrets = {_key_id(each): each for each in (*older, secret)}
        self.active = _key_id(secret)
        self._derived: dict[tuple[bytes, str], hmac.HMAC] = {}

    @classmethod
    def load(cls, home: str, create: bool = True) -> KeyRing:
        """The ring of this process. SettingsError where there is no key and none may be made."""
        text = os.environ.get("OPGRID_SECRET_KEY", "")
        source = "OPGRID_SECRET_KEY"
        if not text and (named := os.environ.get("OPGRID_SECRET_KEY_FILE")):
            text, source = _read(Path(named), "OPGRID_SECRET_KEY_FILE"), named
        if text:
            return _ring(text, source)
        path = Path(home) / KEY_FILE
        if not path.exists():
            if not create:
                raise SettingsError(
                    "There is no secret key: neither OPGRID_SECRET_KEY nor OPGRID_SECRET_KEY_FILE is set, and "
                    f"{path} does not exist. Give all processes that share runs the same key. "
                    f'Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
                )
            _make(path)
        return _ring(_read(path, "OPGRID_HOME"), str(path))

    def knows(self, key_id: bytes) -> bool:
        """Whether what was signed with that key is believed."""
        return key_id in self._secrets

    def sign(self, purpose: str, *parts: bytes) -> bytes:
        """MAC of the active key over the parts, which the caller has framed so that they cannot run into each other."""
        return _mac(self._key(self.active, purpose), parts)

    def derive(self, purpose: str, key_id: bytes, *parts: bytes) -> bytes:
        """A key that only who has that secret can make of the parts. KeyError for a key that is not there."""
        return _mac(self._key(key_id, purpose), parts)

    def verify(self, purpose: str, key_id: bytes, mac: bytes, *parts: bytes) -> None:
        """Raises PayloadRejected for an unknown key and for a MAC that does not fit."""
        if key_id not in self._secrets:
            raise PayloadRejected(
                f"signed with a key that this process does not have ({key_id.hex()}); "
                f"processes that share runs need the same OPGRID_SECRET_KEY"
            )
        if not hmac.compare_digest(_mac(self._key(key_id, purpose), parts), mac):
            raise PayloadRejected("the signature does not fit: the bytes were changed after they were written")

    def _key(self, key_id: bytes, purpose: str) -> hmac.HMAC:
        """Of nothing yet: to copy it takes less than to take in a key."""
        found = self._derived.get((key_id, purpose))
        if found is None:
            secret = _hkdf(self._secrets[key_id], f"opgrid {purpose}".encode())
            found = hmac.new(secret, digestmod="sha256")
            self._derived[key_id, purpose] = found
        return found


@lru_cache(maxsize=16)
def _ring(text: str, source: str) -> KeyRing:
    keys = [part.strip().encode() for part in text.replace("\n", ",").split(",") if part.strip()]
    if not keys:
        raise SettingsError(f"{source} holds no key.")
    short = [key for key in keys if len(key) < _SHORTEST]
    if short:
        raise SettingsError(
            f"A key in {source} has {len(short[0])} characters; {_SHORTEST} are the least. "
            f'Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return KeyRing(*keys)


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"The secret key file {path} ({setting}) cannot be read: {error.strerror}.") from error


def _make(path: Path) -> None:
    """Several processes may come here at once: a hard link lets one of them win, and nobody reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def _key_id(secret: bytes) -> bytes:
    return hashlib.sha256(b"opgrid key id\0" + secret).digest()[:ID_SIZE]


def _hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, one block."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _mac(key: hmac.HMAC, parts: tuple[bytes, ...]) -> bytes:
    mac = key.copy()
    for part in parts:
        mac.update(part)
    return mac.digest()
