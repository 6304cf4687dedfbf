"""``make demo``: the census on an embedded Redis and two Celery workers, from start to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import start_worker
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing

_WORKERS = ("demo-1", "demo-2")
_MODULE = "examples.stdlib_census.jobs"
_REPORT = Path("census-report")
_TELL_EVERY = 200


def main() -> int:
    """Returns the exit code of the run."""
    home = Path(os.environ.get("OPGRID_HOME") or ".opgrid").absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    KeyRing.load(str(home))  # made here, so that all workers sign with the same one
    with ExitStack() as stack:
        began = time.monotonic()
        redis = stack.enter_context(EmbeddedRedis.start())
        print(f"Redis   embedded, pid {redis.process.pid}")
        each = max(1, (os.cpu_count() or 2) // len(_WORKERS))
        started = [
            start_worker(
                redis.url,
                CodeTarget(module=_MODULE, working_directory=os.getcwd()),
                str(home),
                name=name,
                concurrency=each,
                log=home / f"{name}.log",
                wait=False,
            )
            for name in _WORKERS
        ]
        for worker in started:
            stack.callback(worker.stop)
        for worker in started:
            worker.wait_until_ready()
            print(f"worker  {worker.name}, pid {worker.pid}, {each} process{'es' if each > 1 else ''}")
        print(f"ready in {time.monotonic() - began:.1f} s; the job is examples/stdlib_census/jobs.py\n")
        command = ["job", "execute", "-m", _MODULE, "-j", "census", "--executor", "celery"]
        print(f"$ opgrid {' '.join(command)}")
        with _interrupts_left_to_others():
            code = _execute(command, {"OPGRID_HOME": str(home), "OPGRID_BROKER_URL": redis.url})
    if code == 0:
        _tell(_REPORT)
    return code


@contextmanager
def _interrupts_left_to_others() -> Iterator[None]:
    """Ctrl-C reaches the command, too: it cancels the run, says so, and ends."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _execute(command: list[str], environ: dict[str, str]) -> int:
    """On a terminal the command shows its own table; on a pipe, a line an event: the mapped ones are counted here."""
    whole = [sys.executable, "-P", "-m", "opgrid", *command, "-d", "."]
    if sys.stdout.isatty():
        return subprocess.run(whole, env={**os.environ, **environ}).returncode
    with subprocess.Popen(whole, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True) as process:
        measured = 0
        for line in process.stdout or ():
            if "measure_file[" not in line:
                print(line, end="", flush=True)
            elif "STEP_SUCCESS" in line:
                measured += 1
                if measured % _TELL_EVERY == 0:
                    print(f"{line.split()[0]} ... {measured} files measured", flush=True)
            elif "STEP_START" not in line:
                print(line, end="", flush=True)
    return process.returncode


def _tell(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    total = report["total"]
    print(
        f"\nThe standard library of Python {report['python']}: {total['modules']:,} modules, {total['lines']:,} lines, "
        f"{total['functions']:,} functions, {total['classes']:,} classes, {total['branches']:,} branches."
    )
    print("Its most complex packages:")
    for package in report["packages"][:5]:
        print(f"  {package['name']:<14} {package['complexity']:>6,}")
    print(f"""
Read the report     {folder / "report.md"} (pictures beside it, numbers in report.json)
Look at the run     .venv/bin/opgrid run list; .venv/bin/opgrid run show RUN_ID
In the browser      .venv/bin/opgrid dev -m {_MODULE}   (the pages need npm; `make ui` says more)
Run it elsewhere    .venv/bin/opgrid job execute -m {_MODULE} -j census --executor multiprocess
Write your own job  README.md""")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
