"""The documentation: its links lead somewhere, its code runs, and what it lists is complete."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from opgrid.broker.deployment import OtherDatabase, OtherKey, StillUsed
from opgrid.errors import SettingsError

_ROOT = Path(__file__).parents[2]
_PAGES = sorted([*(_ROOT / "docs").rglob("*.md"), *_ROOT.glob("*.md")])
_MESSAGES = _ROOT / "docs" / "reference" / "messages.md"
_FENCE = re.compile(r"(?:<!-- (?P<role>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: Their commands are shown to be read, or are the repository's own.
_NOT_RUN = {"README.md", "CONTRIBUTING.md"}


def _named(page: Path) -> str:
    return str(page.relative_to(_ROOT))


def _headings(page: Path) -> set[str]:
    """As GitHub anchors them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", _PAGES, ids=_named)
def test_links_lead_somewhere(page: Path) -> None:
    prose = _FENCE.sub("", page.read_text())
    for target in _LINK.findall(prose):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in _headings(found), target


def test_every_page_is_in_the_index() -> None:
    index = (_ROOT / "docs" / "README.md").read_text()
    listed = {(_ROOT / "docs" / target.partition("#")[0]).resolve() for target in _LINK.findall(index)}
    pages = {
        page
        for page in (_ROOT / "docs").rglob("*.md")
        if page.parent.name not in ("adr", "api") and page.name != "README.md"
    }
    assert pages <= listed


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in _PAGES
        if re.search("```(python|sh)", page.read_text()) and page.parent.name != "api" and page != _MESSAGES
    ],
    ids=_named,
)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """Blocks of one page share names, one after the other; commands run in the folder of its files."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    blocks: list[str] = []
    for block in _FENCE.finditer(page.read_text()):
        role, language, text = block["role"] or "", block["language"], block["text"]
        if language == "python" and role.startswith("file: "):
            (tmp_path / role.removeprefix("file: ")).write_text(text)
        elif language == "python" and role.startswith("change: "):
            _replace(tmp_path / role.removeprefix("change: "), text)
        elif language == "python":
            blocks.append(text)
            if role == "run" or page.parent.name != "tutorial":
                _run_python("\n".join(blocks), tmp_path, environ)
        elif language == "sh" and page.name not in _NOT_RUN:
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100)
                expected = 1 if "# fails" in line else 0
                assert done.returncode == expected, f"{line}\n{done.stdout}\n{done.stderr}"


def _run_python(text: str, folder: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def _replace(file: Path, op: str) -> None:
    """Put an op in the place of the one of that name."""
    name = re.search(r"^def (\w+)", op, re.MULTILINE)
    assert name is not None
    before = file.read_text()
    after = re.sub(rf"@op\ndef {name[1]}\(.*?(?=\n\n\n)", lambda _: op.rstrip(), before, count=1, flags=re.DOTALL)
    assert after != before
    file.write_text(after)


def test_the_reference_names_every_command_and_option() -> None:
    from opgrid.cli import root

    page = (_ROOT / "docs" / "reference" / "cli.md").read_text()
    for command, options in _commands(root, "opgrid"):
        assert f"`{command}" in page, command
        for option in options:
            assert f"`{option}" in page or f", {option}" in page, f"{command} {option}"


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _commands(inner, f"{path} {name}")
        return
    yield path, [each.opts[-1] for each in command.params if isinstance(each, click.Option)]


def test_the_reference_names_every_setting() -> None:
    page = (_ROOT / "docs" / "reference" / "settings.md").read_text()
    used = set()
    for package in ("opgrid", "orchestrator", "executors", "worker"):
        for file in (_ROOT / package).rglob("*.py"):
            used |= set(re.findall(r"\bOPGRID_[A-Z_]+[A-Z]\b", file.read_text()))
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_the_reference_names_every_event() -> None:
    from opgrid import EventType

    page = (_ROOT / "docs" / "reference" / "events.md").read_text()
    assert {each.name for each in EventType if each.name not in page} == set()


_MISTAKES = re.findall(
    r"^### ([^\n]*)\n\n```python\n(.*?)```\n\n```text\n(.*?)\n```", _MESSAGES.read_text(), re.M | re.S
)


@pytest.mark.parametrize(("code", "message"), [each[1:] for each in _MISTAKES], ids=[each[0] for each in _MISTAKES])
def test_a_mistake_is_told_in_these_words(code: str, message: str) -> None:
    with pytest.raises(Exception) as raised:
        exec(compile(code, "jobs.py", "exec"), {"__name__": "jobs", "__file__": "jobs.py"})
    assert f"{raised.type.__name__}: {raised.value}" == message


def test_every_mistake_is_tried() -> None:
    assert len(_MISTAKES) == _MESSAGES.read_text().count("\n### ") > 25


@pytest.mark.parametrize(
    "error",
    [
        OtherDatabase("opgrid", "4f1c8a02b7de", "a95e03d1c4b7", "web-1", 2),
        OtherKey("opgrid", "5bd0947e", "8a0c31d2"),
        StillUsed("opgrid", "4f1c8a02b7de", "web-1", 2),
    ],
    ids=["database", "key", "still used"],
)
def test_what_does_not_belong_together_is_refused_in_these_words(error: SettingsError) -> None:
    assert f"```text\n{type(error).__name__}: {error}\n```" in _MESSAGES.read_text()
