"""The job of ``benchmarks.killing``."""

from __future__ import annotations

import os
import time

from opgrid import job, op


@op
def slow() -> int:
    with open(os.environ["MARK"], "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(3)
    return 1


@job
def one() -> None:
    slow()
