"""``python -P -m benchmarks.killing --peers PYTHON``: a worker is killed with signal 9 in the middle of a step, here
and in dagster-celery, on Redis, with a second healthy worker beside it. How long until the run is over?

PYTHON is the interpreter of an environment with ``dagster-celery[redis]``; without it only our side runs.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.killed_job import one
from opgrid import execute_job, fleet_for_test
from opgrid.broker.address import BrokerAddress
from opgrid.broker.embedded import EmbeddedRedis

_ROOT = Path(__file__).parents[1]
_PATIENCE = 90.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.killing", description=__doc__)
    parser.add_argument("--peers", type=Path, help="an interpreter that has dagster-celery")
    parser.add_argument("--patience", type=float, default=_PATIENCE, help="seconds until we stop waiting")
    given = parser.parse_args()
    print(f"opgrid:         {_ours()}", flush=True)
    if given.peers is not None:
        print(f"dagster-celery: {_theirs(given.peers, given.patience)}", flush=True)


def _ours() -> str:
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "mark"
        os.environ["MARK"] = str(mark)
        with fleet_for_test("benchmarks.killed_job", workers=2, lease_ttl=8.0) as fleet:
            killed: list[float] = []

            def kill() -> None:
                pid = int(_until(lambda: mark.exists() and mark.read_text().split())[0])
                victim = next(each for each in fleet.workers if pid in _family(each.pid))
                time.sleep(0.5)
                victim.kill()
                killed.append(time.monotonic())

            import threading

            thread = threading.Thread(target=kill)
            thread.start()
            with execute_job(one, fleet.instance, executor="celery") as result:
                seconds = time.monotonic() - killed[0]
                thread.join()
                attempts = len(mark.read_text().split())
                return f"{result.run.status.value}, {seconds:.1f} s after the kill, {attempts} attempts of the 3 s step"


def _theirs(python: Path, patience: float) -> str:
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis.start() as redis:
        home = Path(folder)
        mark = home / "mark"
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        url = BrokerAddress.parse(redis.url).celery_url
        config = home / "run.yaml"
        config.write_text(f"execution: {{config: {{broker: '{url}', backend: '{url}'}}}}\n")
        environ = {**os.environ, "DAGSTER_HOME": folder, "MARK": str(mark), "PATH": f"{python.parent}:/usr/bin:/bin"}
        jobs = str(_ROOT / "benchmarks" / "peers" / "dagster_jobs.py")
        started: list[subprocess.Popen[bytes]] = []

        def start(name: str, *command: str) -> subprocess.Popen[bytes]:
            with (home / f"{name}.log").open("wb") as log:
                made = subprocess.Popen(
                    [str(python.parent / command[0]), *command[1:]],
                    env=environ,
                    stdout=log,
                    stderr=log,
                    cwd=home,
                    start_new_session=True,
                )
            started.append(made)
            return made

        try:
            start("instance", "dagster", "instance", "info").wait()  # its database is made by one process
            workers = [
                start(
                    f"w{number}",
                    "dagster-celery",
                    "worker",
                    "start",
                    "-A",
                    "dagster_celery.app",
                    "-y",
                    str(config),
                    "-n",
                    f"w{number}",
                    "--",
                    "-c",
                    "1",
                )
                for number in range(2)
            ]
            time.sleep(8)
            run = start("run", "dagster", "job", "execute", "-f", jobs, "-j", "one", "-c", str(config))
            try:
                pid = int(_until(lambda: mark.exists() and mark.read_text().split(), 60)[0])
            except TimeoutError:
                logs = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in home.glob("*.log"))
                return f"its step did not start\n{logs}"
            victim = next(each for each in workers if pid in _family(each.pid))
            time.sleep(0.5)
            for member in _family(victim.pid):
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            killed = time.monotonic()
            try:
                run.wait(patience)
            except subprocess.TimeoutExpired:
                attempts = len(mark.read_text().split())
                return f"still waiting {patience:.0f} s after the kill, {attempts} attempt of the 3 s step"
            seconds = time.monotonic() - killed
            return f"ended with exit code {run.returncode}, {seconds:.1f} s after the kill"
        finally:
            for each in started:
                with suppress(ProcessLookupError):
                    os.killpg(each.pid, signal.SIGKILL)
                each.wait()


def _until(there: Callable[[], object], seconds: float = 30.0) -> list[str]:
    end = time.monotonic() + seconds
    while not (found := there()):
        if time.monotonic() > end:
            raise TimeoutError("the step did not start")
        time.sleep(0.02)
    assert isinstance(found, list)
    return found


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


if __name__ == "__main__":
    main()
