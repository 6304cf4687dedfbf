"""Run config from YAML: several documents, the later laid over the earlier."""

from __future__ import annotations

import copy
import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opgrid.config.documents import document
from opgrid.errors import InvalidConfigError


def config_from_files(config_files: Sequence[str]) -> dict[str, Any]:
    """Files or patterns; a pattern that finds nothing is an error."""
    texts: list[tuple[str, bytes]] = []
    for pattern in config_files:
        found = sorted(glob.glob(pattern)) or [pattern]
        for path in found:
            try:
                with open(path, "rb") as file:
                    texts.append((path, file.read()))
            except OSError as error:
                raise InvalidConfigError(f"The config file {path} cannot be read: {error.strerror}.") from error
    return merged([_parsed(name, text) for name, text in texts])


def config_from_pkg_resources(pkg_resource_defs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """(package, file name) pairs."""
    from importlib.resources import files

    parts = []
    for package, name in pkg_resource_defs:
        try:
            text = files(package).joinpath(name).read_bytes()
        except (OSError, ModuleNotFoundError) as error:
            raise InvalidConfigError(f"Package {package!r} has no config file {name!r}: {error}.") from error
        parts.append(_parsed(f"{package}/{name}", text))
    return merged(parts)


def config_from_yaml_strings(yaml_strings: Sequence[str]) -> dict[str, Any]:
    """YAML documents merged into one run config, later ones over earlier. Raises InvalidConfigError."""
    return merged([_parsed(f"document {number}", text) for number, text in enumerate(yaml_strings, start=1)])


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Mappings merge key by key, all else is replaced; the parts stay as they are."""
    result: dict[str, Any] = {}
    for part in parts:
        _lay_over(result, part)
    return result


def _lay_over(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        below = under.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            _lay_over(below, value)
        else:
            under[key] = copy.deepcopy(dict(value)) if isinstance(value, Mapping) else value


def _parsed(name: str, text: str | bytes) -> Mapping[str, Any]:
    import yaml

    try:
        found = document(text)
    except yaml.YAMLError as error:
        raise InvalidConfigError(f"{name} is not YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidConfigError(f"{name} has to hold a mapping at its top, not a {type(found).__name__}.")
    return found


def file_relative_path(dunderfile: str, relative_path: str) -> str:
    """A path beside the file that says it: ``file_relative_path(__file__, "../run.yaml")``."""
    return os.path.join(os.path.dirname(dunderfile), relative_path)
