# mypy: ignore-errors
"""The job of ``benchmarks.killing``, for Dagster with its Celery executor. Run by the peers' own interpreter."""

import os
import time

from dagster import job, op
from dagster_celery import celery_executor


@op
def slow() -> int:
    with open(os.environ["MARK"], "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(3)
    return 1


@job(executor_def=celery_executor)
def one() -> None:
    slow()
