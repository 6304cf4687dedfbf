"""The process that drives one launched run on local executors. The service starts it; users do not."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from opgrid.errors import DatabaseUnreachable, DatabaseUnusable, OpGridError
from opgrid.zygote.nursery import pass_on
from orchestrator.cli.memory import collect_rarely
from orchestrator.coordinator.ownership import RunIsDriven
from orchestrator.coordinator.patience import patiently
from orchestrator.instance import Instance
from orchestrator.services.runs import resume_run
from orchestrator.settings import Settings


def main(args: Sequence[str]) -> None:
    """To the end of the run; waits while another process drives it, and while the database is away."""
    (run_id,) = args
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have inherited to ignore it
    settings = Settings.load()
    with patiently(lambda: Instance.of(settings)) as instance:
        collect_rarely()
        while not (record := patiently(lambda: instance.record(run_id))).status.is_final:
            try:
                resume_run(
                    record,
                    instance.store,
                    settings.home,
                    settings.broker_url,
                    max_runtime=settings.sections.run_monitoring.max_runtime_seconds,
                )
            except OpGridError as error:
                passes = isinstance(error, RunIsDriven | DatabaseUnreachable)
                if not passes or isinstance(error, DatabaseUnusable):
                    raise SystemExit(f"{type(error).__name__}: {error}") from error
                time.sleep(1.0)
        pass_on(record.code)
