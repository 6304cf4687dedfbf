"""References to environment variables. They travel as ``{"env": "NAME"}`` and are resolved where a step runs."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from typing import Any, Final

from opgrid.errors import InvalidConfigError, InvalidInvocationError

_EXACT: Final = frozenset({str, int, float, bool, type(None)})


class EnvVar(str):
    """The name of a variable, in the place of its value: ``Server(password=EnvVar("PASSWORD"))``."""

    __slots__ = ()

    @property
    def env_var_name(self) -> str:
        return str.__str__(self)

    def get_value(self, default: str | None = None) -> str | None:
        """Its value now, in this process."""
        return os.environ.get(self.env_var_name, default)

    def reference(self) -> dict[str, str]:
        return {"env": self.env_var_name}

    @classmethod
    def int(cls, name: str) -> IntEnvVar:
        return IntEnvVar(name)

    def __str__(self) -> str:
        raise _only_a_name(self)

    def __format__(self, spec: str) -> str:
        raise _only_a_name(self)

    def __repr__(self) -> str:
        return f"EnvVar({self.env_var_name!r})"


class IntEnvVar(int):
    """As :class:`EnvVar`, for a field of type int."""

    env_var_name: str

    def __new__(cls, name: str) -> IntEnvVar:
        made = super().__new__(cls, 0)
        made.env_var_name = name
        return made

    def get_value(self, default: int | None = None) -> int | None:
        text = os.environ.get(self.env_var_name)
        return default if text is None else int(text)

    def reference(self) -> dict[str, str]:
        return {"env": self.env_var_name}

    def __int__(self) -> int:
        raise _only_a_name(self)

    def __str__(self) -> str:
        raise _only_a_name(self)

    def __format__(self, spec: str) -> str:
        raise _only_a_name(self)

    def __repr__(self) -> str:
        return f"EnvVar.int({self.env_var_name!r})"


def _only_a_name(variable: EnvVar | IntEnvVar) -> InvalidInvocationError:
    return InvalidInvocationError(
        f"{variable!r} names a variable of the process that runs the step; what it holds is not known here. Give it to "
        "a Config or a resource as it is, or read it now: EnvVar(...).get_value()."
    )


def is_reference(value: object) -> bool:
    """``{"env": "NAME"}``; with ``"as": "int"`` where nothing else says that the variable is a number."""
    if not isinstance(value, Mapping) or not isinstance(value.get("env"), str):
        return False
    return len(value) == 1 or (len(value) == 2 and value.get("as") == "int")


def with_references(value: Any) -> Any:
    """What Python code gives as config, with the references of its EnvVars in their places; what is a kind of text or
    number, such as a MultiPartitionKey or a float of numpy, is just that.
    """
    if type(value) in _EXACT:
        return value
    if isinstance(value, IntEnvVar):
        return {**value.reference(), "as": "int"}
    if isinstance(value, EnvVar):
        return value.reference()
    if isinstance(value, Mapping):
        return {key: with_references(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [with_references(each) for each in value]
    if isinstance(value, enum.Enum):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value


def value_of(reference: Mapping[str, str], path: str = "config") -> str:
    """Raises InvalidConfigError, naming the variable."""
    name = reference["env"]
    found = os.environ.get(name)
    if found is None:
        raise InvalidConfigError(
            f"The environment variable {name!r} is not set where this step runs; the config at {path} refers to it. "
            f"Set it for the worker, or write the value itself."
        )
    return found


def number_or_text(text: str, *kinds: Any) -> Any:
    """A number where that is one of the kinds that it may be of, and it reads as one."""
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                return text
    return text


def resolve_env(value: Any) -> Any:
    """Plain config with every reference in it replaced by what the variable says."""
    if is_reference(value):
        return number_or_text(value_of(value), int if "as" in value else None)
    if isinstance(value, Mapping):
        return {key: resolve_env(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [resolve_env(each) for each in value]
    return value
