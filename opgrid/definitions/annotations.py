"""Signatures of functions whose annotations may name what only type checkers can see, or what comes later."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    from annotationlib import Format

    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        """Its annotations are evaluated now; where one of them cannot be, all are text."""
        try:
            return inspect.signature(function)
        except Exception:  # whatever the annotations raise, or there is no signature, which the next line says again
            return inspect.signature(function, annotation_format=Format.STRING)

else:
    signature_of = inspect.signature
