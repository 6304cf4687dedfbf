"""The command line as scripts meet it: exit codes, what is said on which stream, and what is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from typing import IO, Any

import pytest

from opgrid.contracts.status import RunStatus
from orchestrator.storage.records import RunRecord
from orchestrator.storage.sql.store import SqlStore

_CODE = {
    "jobs.py": """
        import sys
        import threading
        import time
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from opgrid import (
            Config, ConfigurableResource, Definitions, Failure, RetryPolicy, failure_hook, job,
            mem_io_manager, op, static_partitioned_config
        )

        class Greeting(Config):
            name: str = "you"
            times: int = 1

        class Server(ConfigurableResource):
            url: str

        @op
        def five() -> int:
            "A number."
            return 5

        @op
        def greet(context, config: Greeting, n: int) -> str:
            context.log.info("hello %s", config.name)
            print("on stdout")
            return config.name * n * config.times

        @op
        def use(server: Server) -> str:
            return server.url

        @op
        def boom() -> int:
            raise ValueError("no")

        @op(retry_policy=RetryPolicy(max_retries=1))
        def gives_up(context) -> None:
            try:
                int("x")
            except ValueError:
                context.log.exception("no number")
            raise Failure("for good")

        @failure_hook
        def clumsy(context):
            raise KeyError("dropped")

        @op(tags={"opgrid/executor": "mars"})
        def far() -> None: ...

        @op
        def nap(n: int) -> None:
            Path("napping").touch()
            time.sleep(60)

        @job
        def simple():
            "Greets."
            greet(five())

        @job
        def fails():
            greet(boom())

        @job(resource_defs={"io_manager": mem_io_manager})
        def memory():
            greet(five())

        @job
        def sleeps():
            nap(five())

        @job
        def needs_server():
            use()

        @static_partitioned_config(partition_keys=["north", "south"])
        def by_region(key):
            return {"ops": {"greet": {"config": {"name": key}}}}

        @job(config=by_region)
        def regional():
            greet(five())

        @job(hooks={clumsy})
        def tired():
            gives_up()

        @job
        def elsewhere():
            far()

        pool = ThreadPoolExecutor(1)

        @op
        def lingers() -> None:
            ident = pool.submit(threading.get_ident).result()
            while sys._current_frames()[ident].f_code.co_name != "_worker":
                time.sleep(0.001)
            threading.Thread(target=threading.main_thread().join, name="upload").start()

        @job
        def leaves_a_thread():
            lingers()

        defs = Definitions(
            jobs=[simple, fails, memory, sleeps, needs_server, regional, tired, elsewhere, leaves_a_thread],
            resources={"server": Server(url="here")},
        )
    """,
    "broken.py": "import nothing_such_as_this",
    "syntax.py": "def f(:",
    "empty.py": "x = 1",
    "several.py": """
        from opgrid import Definitions, job
        @job
        def a(): ...
        one = Definitions(jobs=[a])
        two = Definitions(jobs=[a])
    """,
    "wrong.py": """
        from opgrid import job, op
        @op
        def n() -> int: return 3
        @op
        def one(x): return x
        @job
        def bad(): one(n)
    """,
    "bad.yaml": "ops: [",
    "list.yaml": "- 1",
    "one.yaml": "ops: {greet: {config: {name: one, times: 2}}}",
    "two.yaml": "ops: {greet: {config: {name: two}}}",
}

_BOOM = dedent(_CODE["jobs.py"]).strip().splitlines().index('    raise ValueError("no")') + 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in _CODE.items():
        (tmp_path / name).write_text(dedent(text).strip() + "\n")
    return tmp_path


class Ended(subprocess.CompletedProcess[str]):
    @property
    def result(self) -> Any:
        """The last line on stdout."""
        found: Any = json.loads(self.stdout.splitlines()[-1])
        return found


def _environ(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}
    return {**kept, **more}


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-P", "-m", "opgrid", *arguments]


def opgrid(folder: Path, *arguments: str, **environ: str) -> Ended:
    done = subprocess.run(
        _command(arguments),
        cwd=folder,
        env=_environ(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return Ended(done.args, done.returncode, done.stdout, done.stderr)


def execute(folder: Path, *arguments: str, **environ: str) -> Ended:
    return opgrid(folder, "job", "execute", "-f", "jobs.py", *arguments, **environ)


def runs(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(opgrid(folder, "run", "list", "--json").stdout)
    return found


def stored(folder: Path) -> list[RunRecord]:
    """The runs that are in the database, if there is one."""
    file = folder / ".opgrid" / "opgrid.db"
    if not file.exists():
        return []
    with closing(SqlStore(f"sqlite:///{file}")) as store:
        return store.runs()


# ---- what is wrong, and the way out --------------------------------------------------------------------------------

_SIMPLE = ("-f", "jobs.py", "-j", "simple")


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (2, ("-f", "jobs.py"), "--job"),
        (2, ("-j", "simple"), "-f FILE, -m MODULE"),
        (2, ("-f", "jobs.py", "-m", "jobs", "-j", "simple"), "one of -f FILE, -m MODULE"),
        (2, ("-f", "jobs.py", "-j", "simpel"), "no job 'simpel'. Did you mean 'simple'?"),
        (2, (*_SIMPLE, "--executor", "in_proces"), "no executor 'in_proces'. Did you mean 'in_process'?"),
        (2, (*_SIMPLE, "-c", "none.yaml"), "none.yaml cannot be read"),
        (2, (*_SIMPLE, "-c", "bad.yaml"), "bad.yaml is not YAML"),
        (2, (*_SIMPLE, "-c", "list.yaml"), "list.yaml has to hold a mapping"),
        (2, (*_SIMPLE, "--config-json", "{"), "--config-json is not JSON"),
        (2, (*_SIMPLE, "--config-json", '{"ops": {"gret": {}}}'), "root:ops:gret: .* Did you mean 'greet'"),
        (2, (*_SIMPLE, "--config-json", '{"ops": {"greet": {"config": {"nmae": 1}}}}'), "nmae: .* mean 'name'"),
        (2, (*_SIMPLE, "--config-json", '{"ops": {"greet": {"config": {"name": 1}}}}'), "config:name: .*got 1"),
        (2, (*_SIMPLE, "--config-json", '{"resources": {"servr": {}}}'), "root:resources:servr: .*'server'"),
        (2, (*_SIMPLE, "--config-json", '{"execution": {"config": {"max": 1}}}'), "execution:config:max"),
        (2, (*_SIMPLE, "-o", "nothing"), "'nothing' matches no step"),
        (2, (*_SIMPLE, "--tags", "x"), "--tags is not JSON"),
        (2, (*_SIMPLE, "--partition", "x"), "'simple' .* is not partitioned"),
        (2, ("-f", "jobs.py", "-j", "memory", "--executor", "multiprocess"), "kept in memory .*'io_manager'"),
        (2, ("-f", "jobs.py", "-j", "elsewhere"), "no executor 'mars'.*'opgrid/executor' of step 'far'"),
        (2, ("-f", "jobs.py", "-j", "regional", "--partition", "south...north"), "runs backwards: .* Swap them"),
        (2, ("-f", "several.py", "-a", "three", "-j", "a"), "no attribute 'three'"),
        (3, ("-f", "none.py", "-j", "a"), "no file .*none.py"),
        (3, ("-f", "broken.py", "-j", "a"), "broken.py could not be loaded:(.|\n)*nothing_such_as_this"),
        (3, ("-f", "syntax.py", "-j", "a"), "syntax.py could not be loaded:(.|\n)*line 1"),
        (3, ("-f", "empty.py", "-j", "a"), "empty.py has no Definitions and no jobs"),
        (3, ("-f", "several.py", "-j", "a"), "several Definitions \\('one', 'two'\\)"),
        (3, ("-f", "wrong.py", "-j", "bad"), "'bad' .*wrong.py:7.* Did you forget parentheses"),
        (3, ("-m", "no.such.module", "-j", "a"), "no module 'no'"),
    ],
)
def test_a_run_that_cannot_start(folder: Path, code: int, arguments: tuple[str, ...], said: str) -> None:
    ended = opgrid(folder, "job", "execute", *arguments)
    assert ended.returncode == code, ended.stderr
    assert re.search(said, ended.stderr), ended.stderr
    assert sum(line.startswith("Error:") for line in ended.stderr.splitlines()) == 1
    assert "site-packages" not in ended.stderr
    assert ended.stdout == ""
    assert stored(folder) == [], "nothing is half-started"


@pytest.mark.parametrize(
    ("code", "environ", "said"),
    [
        (4, {"OPGRID_BROKER_URL": "redis://:hunter2@127.0.0.1:1/0"}, "broker at .*127.0.0.1:1/0 cannot be reached"),
        (2, {"OPGRID_BROKER_URL": "http://127.0.0.1"}, "'http://127.0.0.1' is no address of a broker"),
        (
            4,
            {"OPGRID_DATABASE_URL": "postgresql://a:hunter2@127.0.0.1:1/x"},
            r"The database postgresql://a:\*\*\*@127.0.0.1:1/x cannot .*OPGRID_DATABASE_URL",
        ),
        (2, {"OPGRID_DATABASE_URL": "mysql://x"}, "sqlite or postgresql, not in 'mysql'"),
    ],
)
def test_a_server_that_is_not_there(folder: Path, code: int, environ: dict[str, str], said: str) -> None:
    ended = execute(folder, "-j", "simple", "--executor", "celery", **environ)
    assert ended.returncode == code, ended.stderr
    assert re.search(said, ended.stderr), ended.stderr
    assert "hunter2" not in ended.stderr
    assert stored(folder) == []


def test_flower_without_its_broker(folder: Path) -> None:
    ended = opgrid(folder, "flower", OPGRID_BROKER_URL="redis://:hunter2@127.0.0.1:1/0")
    assert ended.returncode == 4, ended.stderr
    assert "cannot be reached" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_processes_that_start_in_no_known_way(folder: Path) -> None:
    ended = execute(folder, "-j", "simple", "--executor", "multiprocess", OPGRID_ZYGOTE="no")
    assert ended.returncode == 2
    assert "OPGRID_ZYGOTE is 'no': it has to be 'on' or 'off'" in ended.stderr
    assert stored(folder) == []


def test_settings_that_are_not(folder: Path) -> None:
    (folder / ".opgrid").mkdir()
    (folder / ".opgrid" / "opgrid.yaml").write_text("databse_url: x\n")
    ended = opgrid(folder, "run", "list")
    assert ended.returncode == 2
    assert "no setting 'databse_url'. Did you mean 'database_url'?" in ended.stderr


@pytest.mark.parametrize(
    ("home", "said"),
    [("jobs.py", "is a file, and has to be a folder"), ("jobs.py/in", "Not a directory"), ("/proc/none", "cannot be")],
)
@pytest.mark.parametrize("command", [("run", "list"), ("job", "execute", "-f", "jobs.py", "-j", "simple")])
def test_a_home_that_cannot_be_made(folder: Path, home: str, said: str, command: tuple[str, ...]) -> None:
    ended = opgrid(folder, *command, OPGRID_HOME=home)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(f"Error: The home {folder / home} .*{said}.* See OPGRID_HOME.\n", ended.stderr), ended.stderr


def test_a_backfill_that_cannot_be(folder: Path) -> None:
    backfill = ("job", "backfill", "-f", "jobs.py", "-j")
    ended = opgrid(folder, *backfill, "regional", "--from", "south", "--to", "north")
    assert ended.returncode == 2
    assert "The range from 'south' to 'north' runs backwards: 'north' comes first. Swap them." in ended.stderr
    ended = opgrid(folder, *backfill, "simple", "--all")
    assert ended.returncode == 2
    assert "'simple' has no partitions" in ended.stderr


def test_one_run_for_what_the_installation_knows(folder: Path) -> None:
    (folder / "customers.py").write_text(
        "from opgrid import DynamicPartitionsDefinition, job\n"
        "@job(partitions_def=DynamicPartitionsDefinition(name='customers'))\n"
        "def per_customer(): ...\n"
    )
    assert opgrid(folder, "run", "list").returncode == 0
    with closing(SqlStore(f"sqlite:///{folder / '.opgrid' / 'opgrid.db'}")) as store:
        store.add_dynamic_partitions("customers", ["acme", "other"])
    backfill = ("job", "backfill", "-f", "customers.py", "-j", "per_customer", "--single-run", "--noprompt")
    assert "1 partitions of per_customer" in opgrid(folder, *backfill, "--partitions", "acme").stdout
    ended = opgrid(folder, *backfill, "--all")
    assert (ended.returncode, "there are no ranges" in ended.stderr) == (2, True)


def test_one_run_counts_for_each_of_its_partitions(folder: Path) -> None:
    (folder / "letters.py").write_text(
        "from opgrid import StaticPartitionsDefinition, job\n"
        "@job(partitions_def=StaticPartitionsDefinition(list('abcde')))\n"
        "def per_letter(): ...\n"
    )
    backfill = ("job", "backfill", "-f", "letters.py", "-j", "per_letter", "--single-run", "--noprompt", "--json")
    made = opgrid(folder, *backfill, "--partitions", "a, b,c", "--partitions", "e").result
    (shown,) = opgrid(folder, "backfill", "list", "--json").result
    assert made == {"backfill_id": shown["backfill_id"], "partitions": ["a", "b", "c", "e"]}
    assert (shown["partitions"], shown["runs"]) == (4, {"not launched": 2})


def test_partitions_whose_keys_have_commas(folder: Path) -> None:
    (folder / "people.py").write_text(
        "from opgrid import StaticPartitionsDefinition, job\n"
        "@job(partitions_def=StaticPartitionsDefinition(['Smith, Ann', 'Smith', 'Ann']))\n"
        "def per_person(): ...\n"
    )
    backfill = ("job", "backfill", "-f", "people.py", "-j", "per_person", "--noprompt", "--json", "--partitions")
    assert opgrid(folder, *backfill, '"Smith, Ann", Ann').result["partitions"] == ["Smith, Ann", "Ann"]
    assert opgrid(folder, *backfill, "Smith, Ann").result["partitions"] == ["Smith", "Ann"]
    for given, said in (('"Smith, Ann', "quotes in"), ("", "Say which partitions"), ("Smith,,Ann", "no partition ''")):
        ended = opgrid(folder, *backfill, given)
        assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr


def test_where_nobody_can_answer_a_question_it_is_told_how_not_to_be_asked(folder: Path) -> None:
    ended = opgrid(folder, "job", "backfill", "-f", "jobs.py", "-j", "regional", "--all")
    assert ended.returncode == 2
    assert "Launch 2 runs of regional" in ended.stdout
    assert "give --noprompt" in ended.stderr
    assert opgrid(folder, "backfill", "list").stdout == ""
    run_id = execute(folder, "-j", "simple", "--json").result["run_id"]
    for command in (("delete", run_id), ("wipe",)):
        ended = opgrid(folder, "run", *command)
        assert (ended.returncode, "give --force" in ended.stderr) == (2, True)
    assert len(runs(folder)) == 1


def test_a_pool_that_there_is_not(folder: Path) -> None:
    opgrid(folder, "instance", "concurrency", "set", "warehouse", "2")
    for verb in ("get", "delete"):
        ended = opgrid(folder, "instance", "concurrency", verb, "warehose")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "no pool 'warehose'. Did you mean 'warehouse'?" in ended.stderr
    assert opgrid(folder, "instance", "concurrency", "delete", "warehouse").returncode == 0


def test_an_approval_that_nobody_waits_for(folder: Path) -> None:
    run_id = execute(folder, "-j", "simple", "--json").result["run_id"]
    ended = opgrid(folder, "run", "approve", run_id, "greet")
    assert ended.returncode == 2
    assert "waits for no approval" in ended.stderr
    assert opgrid(folder, "run", "reject", run_id).returncode == 2, "none waits"


def test_a_file_of_the_user_in_the_way_of_ours_is_named(folder: Path) -> None:
    (folder / "worker.py").write_text("x = 1\n")
    (folder / "uses_it.py").write_text("import worker\nprint(worker.x)\n")
    ended = execute(folder, "-j", "simple", "--json", PYTHONPATH=str(folder))
    assert ended.returncode in (0, 3), ended.stderr
    assert ended.returncode == 0 or str(folder / "worker.py") in ended.stderr
    ended = opgrid(folder, "job", "list", "-f", "uses_it.py")
    assert ended.returncode == 3
    assert str(folder / "worker.py") in ended.stderr or "'worker'" in ended.stderr, ended.stderr


def test_the_beginning_of_an_id_is_more_than_nothing(folder: Path) -> None:
    """An empty variable of a script would delete the only run that there is."""
    run_id = execute(folder, "-j", "simple", "--json").result["run_id"]
    ended = opgrid(folder, "run", "delete", "", "--force")
    assert (ended.returncode, "There is no run ''" in ended.stderr) == (2, True), ended.stderr
    assert "There are no such runs." in opgrid(folder, "run", "list", "-j", "").stderr
    assert [run["run_id"] for run in runs(folder)] == [run_id]


def test_a_file_that_cannot_be_exported_to_or_imported_from(folder: Path) -> None:
    run_id = execute(folder, "-j", "simple", "--json").result["run_id"]
    for file, said in (
        ("none/run", "none/run cannot be written: No such file"),
        (".", ". cannot be written: Is a dir"),
    ):
        ended = opgrid(folder, "run", "export", run_id, file)
        assert (ended.returncode, ended.stderr.startswith(f"Error: {said}")) == (2, True), ended.stderr
    for file, said in ((".", ". cannot be read: Is a dir"), ("jobs.py", "jobs.py: The file is no exported run.")):
        ended = opgrid(folder, "run", "import", file)
        assert (ended.returncode, ended.stderr.startswith(f"Error: {said}")) == (2, True), ended.stderr


@pytest.mark.parametrize("command", [("run", "show"), ("run", "resume")])
def test_a_run_that_there_is_not(folder: Path, command: tuple[str, str]) -> None:
    ended = opgrid(folder, *command, "nothing")
    assert ended.returncode == 2
    assert "no run 'nothing'" in ended.stderr


def test_a_run_that_is_not_waited_for_any_longer(folder: Path) -> None:
    run_id = json.loads(opgrid(folder, "job", "launch", "-f", "jobs.py", "-j", "simple", "--json").stdout)["run_id"]
    ended = opgrid(folder, "run", "wait", run_id, "--timeout", "0", "--json")
    assert (ended.returncode, f"Run {run_id} goes on: QUEUED." in ended.stderr) == (1, True), ended.stderr
    assert (ended.result["run_id"], ended.result["status"]) == (run_id, "QUEUED")


# ---- what works ----------------------------------------------------------------------------------------------------


def test_jobs_are_listed_and_printed(folder: Path) -> None:
    listed = json.loads(opgrid(folder, "job", "list", "-f", "jobs.py", "--json").stdout)
    assert [each["name"] for each in listed] == [
        *("elsewhere", "fails", "leaves_a_thread", "memory", "needs_server", "regional", "simple", "sleeps", "tired")
    ]
    assert "simple  Greets.\n" in opgrid(folder, "job", "list", "-m", "jobs").stdout
    printed = opgrid(folder, "job", "print", "-f", "jobs.py", "-j", "simple").stdout
    assert "five" in printed
    assert "greet" in printed


@pytest.mark.parametrize("executor", ["in_process", "multiprocess", pytest.param("celery", marks=pytest.mark.celery)])
def test_a_job_runs_on_the_executor_that_is_chosen(folder: Path, executor: str) -> None:
    config = ("-c", "one.yaml", "-c", "two.yaml", "--tags", '{"team": "data"}')
    ended = execute(folder, "-j", "simple", "--executor", executor, "--json", *config)
    assert ended.returncode == 0, ended.stderr
    run = ended.result
    assert (run["status"], run["executor"], run["steps"]) == ("SUCCESS", executor, {"SUCCESS": 2})
    assert run["seconds"] > 0
    shown = json.loads(opgrid(folder, "run", "show", run["run_id"], "--json").stdout)
    assert shown["run_config"] == {"ops": {"greet": {"config": {"name": "two", "times": 2}}}}
    assert shown["tags"]["team"] == "data"
    assert [step["step"] for step in shown["step_list"]] == ["five", "greet"]
    assert "hello two" in [event.get("message") for event in shown["events"]]
    assert [run["run_id"]] == [each["run_id"] for each in runs(folder)]
    assert shown["run_id"] == json.loads(opgrid(folder, "run", "show", run["run_id"][:6], "--json").stdout)["run_id"]


def test_a_run_for_a_partition(folder: Path) -> None:
    ended = execute(folder, "-j", "regional", "--partition", "south", "--json", "--executor", "in_process")
    assert ended.returncode == 0, ended.stderr
    shown = json.loads(opgrid(folder, "run", "show", ended.result["run_id"], "--json").stdout)
    assert shown["run_config"] == {"ops": {"greet": {"config": {"name": "south"}}}}
    assert (shown["tags"]["opgrid/partition"], shown["tags"]["opgrid/partition_set"]) == (
        "south",
        "regional_partition_set",
    )
    ended = execute(folder, "-j", "regional", "--partition", "soth")
    assert ended.returncode == 2
    assert "Did you mean 'south'?" in ended.stderr


def test_what_a_terminal_cannot_show_ends_no_run(folder: Path) -> None:
    (folder / "names.py").write_text(
        dedent("""
            from opgrid import job, op

            @op
            def names(context):
                context.log.info("file %s", b"table\\xe9.csv".decode("utf-8", "surrogateescape"))

            @op
            def after(context, start): context.log.info("alone \\ud800")

            @job
            def logs(): after(names())
        """)
    )
    done = opgrid(
        folder,
        "job",
        "execute",
        "-f",
        "names.py",
        "-j",
        "logs",
        "--executor",
        "in_process",
        PYTHONIOENCODING="utf-8:strict",
    )
    assert done.returncode == 0
    assert "file table\\udce9.csv" in done.stdout
    assert "alone \\ud800" in done.stdout


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_a_run_goes_on_where_nobody_reads_its_lines(folder: Path, executor: str) -> None:
    command = _command(("job", "execute", *_SIMPLE, "--executor", executor))
    with subprocess.Popen(command, cwd=folder, env=_environ(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
    assert [run["status"] for run in runs(folder)] == ["SUCCESS"]


def test_a_failed_run_exits_with_1_and_says_why(folder: Path) -> None:
    ended = execute(folder, "-j", "fails")
    assert ended.returncode == 1
    assert "ValueError: no" in ended.stdout
    assert "FAILURE" in ended.stdout.splitlines()[-1]
    (run,) = runs(folder)
    assert run["steps"] == {"FAILURE": 1}
    assert opgrid(folder, "run", "resume", run["run_id"]).returncode == 2, "it has ended"


def test_a_failed_run_is_shown_with_the_line_that_raised(folder: Path) -> None:
    boom = f'File "{folder / "jobs.py"}", line {_BOOM}, in boom\n'
    run_id = execute(folder, "-j", "fails", "--json").result["run_id"]
    shown = opgrid(folder, "run", "show", run_id).stdout
    failure = next(number for number, each in enumerate(shown.splitlines()) if "STEP_FAILURE" in each)
    assert shown.splitlines()[failure].endswith("(ValueError: no)"), "the summary comes first"
    assert boom in shown
    assert '        raise ValueError("no")\n    ValueError: no\n' in shown
    assert "opgrid.errors" not in shown
    assert boom in opgrid(folder, "run", "logs", run_id, "--step", "boom").stdout
    quiet = opgrid(folder, "run", "logs", run_id, "--step", "greet")
    assert (quiet.returncode, quiet.stdout) == (0, ""), "it never ran"
    assert opgrid(folder, "run", "logs", run_id, "--level", "CRITICAL").stdout == ""
    ended = opgrid(folder, "run", "logs", run_id, "--step", "gret")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"no step 'gret' in run {run_id}. Did you mean 'greet'? There are: 'boom', 'greet'." in ended.stderr


def test_threads_that_go_on_after_their_job_are_named(folder: Path) -> None:
    ended = execute(folder, "-j", "leaves_a_thread", "--executor", "in_process")
    assert ended.returncode == 0
    assert ended.stderr.endswith("Threads that its ops have started go on, and this command with them: 'upload'\n")


@pytest.mark.celery
def test_the_threads_of_a_fleet_of_its_own_are_not_named(folder: Path) -> None:
    ended = execute(folder, "-j", "simple", "--executor", "celery")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""


def test_what_user_code_raises_elsewhere_is_shown_too(folder: Path) -> None:
    ended = execute(folder, "-j", "tired", "--executor", "in_process", "--json")
    assert re.search(r"STEP_START +gives_up  attempt 2\n", ended.stderr), ended.stderr
    shown = opgrid(folder, "run", "show", ended.result["run_id"]).stdout
    assert shown.count('    raise Failure("for good")\n') == 2
    assert shown.count('    raise KeyError("dropped")\n') == 1
    assert shown.count('    int("x")\n') == 2


def _has_succeeded(folder: Path) -> bool:
    """A step has, and it is recorded: the one behind it in its chain is out."""
    with closing(sqlite3.connect(folder / ".opgrid" / "opgrid.db")) as database:
        return bool(database.execute("SELECT 1 FROM steps WHERE status = 'SUCCESS'").fetchall())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_a_signal_cancels_the_run(folder: Path, executor: str, number: signal.Signals, code: int) -> None:
    arguments = ("job", "execute", "-f", "jobs.py", "-j", "sleeps", "--executor", executor, "--json")
    process = subprocess.Popen(
        _command(arguments), cwd=folder, env=_environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not ((folder / "napping").exists() and (executor == "in_process" or _has_succeeded(folder))):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    before = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert time.monotonic() - before < 30
    ended = json.loads(out.splitlines()[-1])
    assert (ended["status"], ended["steps"]) == ("CANCELED", {"CANCELED": 1, "SUCCESS": 1})


def test_help_names_every_group(folder: Path) -> None:
    ended = opgrid(folder, "--help")
    assert ended.returncode == 0
    for group in ("job", "run", "worker", "flower"):
        assert f"\n  {group} " in ended.stdout
    assert opgrid(folder, "--version").stdout.startswith("opgrid ")
    assert opgrid(folder, "nothing").returncode == 2
    assert not (folder / ".opgrid").exists(), "asking for help makes no home"


def test_a_failed_run_goes_on_with_other_config(folder: Path) -> None:
    (folder / "picky.py").write_text(
        dedent("""
        from pathlib import Path
        from opgrid import Config, job, op

        class Limit(Config):
            most: int = 1

        @op
        def count() -> int:
            with Path("counted").open("a") as file:
                file.write("x")
            return 3

        @op
        def check(config: Limit, n: int) -> int:
            if n > config.most:
                raise ValueError(f"{n} is more than {config.most}")
            return n

        @job(tags={"team": "data"})
        def picky():
            check(count())
        """)
    )
    failed = opgrid(folder, "job", "execute", "-f", "picky.py", "-j", "picky", "--executor", "multiprocess", "--json")
    assert (failed.returncode, failed.result["status"]) == (1, "FAILURE")
    parent = failed.result["run_id"]
    more = ("--from-failure", "--config-json", '{"ops": {"check": {"config": {"most": 5}}}}', "--tags", '{"try": 2}')
    again = opgrid(folder, "run", "reexecute", parent[:8], *more, "--executor", "in_process", "--json")
    assert again.returncode == 0, again.stderr
    assert again.result["status"] == "SUCCESS"
    assert again.result["executor"] == "in_process"
    assert (folder / "counted").read_text() == "x"
    shown = opgrid(folder, "run", "show", again.result["run_id"], "--json").result
    assert {"team": "data", "try": "2"}.items() <= shown["tags"].items()
    refused = opgrid(folder, "run", "reexecute", again.result["run_id"], "--from-failure")
    assert refused.returncode != 0
    assert "only a run that failed" in refused.stderr
    chosen = opgrid(folder, "run", "reexecute", again.result["run_id"], "-s", "count", "--json")
    assert chosen.returncode == 0, chosen.stderr
    assert (folder / "counted").read_text() == "xx"

    listed = json.loads(opgrid(folder, "run", "list", "--status", "failure", "--json").stdout)
    assert [each["run_id"] for each in listed] == [parent]
    assert "no such runs" in opgrid(folder, "run", "list", "--job", "other").stderr
    storage = folder / ".opgrid" / "storage"
    assert (storage / parent).is_dir()
    assert opgrid(folder, "run", "delete", parent, "-f").returncode == 0
    assert not (storage / parent).exists()
    assert list(storage.iterdir())
    assert opgrid(folder, "run", "show", parent).returncode != 0
    launched = opgrid(folder, "job", "launch", "-f", "picky.py", "-j", "picky", "--json").result["run_id"]
    refused = opgrid(folder, "run", "delete", launched, "-f")
    assert refused.returncode != 0
    assert f"Run {launched} has not ended (QUEUED), and is not deleted." in refused.stderr
    wiped = opgrid(folder, "run", "wipe", "--force")
    assert "Deleted 2 runs" in wiped.stdout
    assert "1 run left, which has not ended. End it first: opgrid run cancel" in wiped.stderr
    assert list(storage.iterdir()) == []
    assert [each["run_id"] for each in runs(folder)] == [launched]


# ---- output that nobody takes --------------------------------------------------------------------------------------


def _into(stream: int | IO[bytes] | None, folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code, and what is said on stderr; stdout goes to ``stream``, or is closed."""
    command = _command(arguments) if stream is not None else ["sh", "-c", 'exec "$@" >&-', "sh", *_command(arguments)]
    ended = subprocess.run(
        command, cwd=folder, env=_environ(PYTHONUNBUFFERED=""), stdout=stream, stderr=subprocess.PIPE, timeout=100
    )
    return ended.returncode, ended.stderr.decode()


@pytest.mark.parametrize("arguments", [("--help",), ("job", "list", "-f", "jobs.py"), ("job", "execute", *_SIMPLE)])
def test_a_full_disk_is_one_line(folder: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        assert _into(full, folder, *arguments) == (1, "Error: Output cannot be written: No space left on device.\n")


def test_who_waits_for_a_run_is_told_that_the_disk_is_full(folder: Path) -> None:
    assert execute(folder, "-j", "simple").returncode == 0
    (record,) = stored(folder)
    with open("/dev/full", "wb") as full:
        ended = _into(full, folder, "run", "wait", record.run_id)
    assert ended == (0, "What comes now is not shown: No space left on device.\n")


def test_a_pipe_that_nobody_reads_is_no_error_to_tell_of(folder: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "wb") as pipe:
        assert _into(pipe, folder, "job", "list", "-f", "jobs.py") == (1, "")


def test_nobody_has_to_read_the_last_line_of_a_run(folder: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    say = "from orchestrator.cli.display import say_at_the_end; say_at_the_end('Run x ended: SUCCESS')"
    with open(writes, "wb") as pipe:
        ended = subprocess.run([sys.executable, "-P", "-c", say], stdout=pipe, stderr=subprocess.PIPE, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_nobody_has_to_read_the_summary_of_a_run(folder: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "wb") as pipe:
        code, said = _into(pipe, folder, "job", "execute", *_SIMPLE, "--json")
        assert (code, said.splitlines()[-1].split()[-1]) == (0, "RUN_SUCCESS")
        (record,) = stored(folder)
        code, said = _into(pipe, folder, "run", "wait", record.run_id, "--json")
        assert (code, said.splitlines()[-1].split()[-1]) == (0, "RUN_SUCCESS")


def test_a_closed_stdout_takes_nothing(folder: Path) -> None:
    assert _into(None, folder, "job", "execute", *_SIMPLE) == (0, "")
    (record,) = stored(folder)
    assert record.status is RunStatus.SUCCESS


# ---- numbers that make no sense ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e300", "soon"])
@pytest.mark.parametrize(
    "arguments",
    [("run", "wait", "r", "--timeout"), *(("worker", "start", each) for each in ("--cancel-grace", "--watchdog"))],
)
def test_seconds_that_no_clock_reaches(folder: Path, arguments: tuple[str, ...], value: str) -> None:
    ended = opgrid(folder, *arguments, value)
    assert ended.returncode == 2
    assert f"{value!r} is not a number of seconds, from 0 to 1000000000." in ended.stderr
    assert list(folder.glob(".opgrid")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "list", "--limit"),
        ("instance", "concurrency", "set", "gpu"),
        ("job", "backfill", "-f", "jobs.py", "-j", "simple", "--at-once"),
    ],
)
def test_numbers_that_no_database_takes(folder: Path, arguments: tuple[str, ...]) -> None:
    ended = opgrid(folder, *arguments, str(2**70))
    assert ended.returncode == 2
    assert "is not in the range" in ended.stderr
