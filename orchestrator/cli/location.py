"""The process of a code location. The service starts it; users do not."""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.tasks import CodeTarget
from orchestrator.instance import Instance
from orchestrator.locations.server import serve
from orchestrator.services.evaluation import Evaluator
from orchestrator.settings import Settings


def main(args: Sequence[str]) -> None:
    """``[file descriptor, name of the location, code target as JSON]``."""
    descriptor, name, code = args
    threading.Thread(target=_end_with, args=(os.getppid(),), name="opgrid-parent", daemon=True).start()
    target = json_decoder(CodeTarget).decode(code)
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket(fileno=int(descriptor)))
        instance = functools.cache(lambda: stack.enter_context(Instance.of(Settings.load())))
        serve(connection, Evaluator(name, target, instance))


def _end_with(parent: int) -> None:
    """User code that hangs does not outlive the service."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
