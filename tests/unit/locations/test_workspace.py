"""Which code locations there are, and what is wrong with the file that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from opgrid.errors import SettingsError
from orchestrator.locations.remote import Address
from orchestrator.locations.workspace import of_workspace, sources


def workspace(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "workspace.yaml"
    path.write_text(text)
    return path


def test_files_modules_packages_and_servers(tmp_path: Path) -> None:
    text = """
load_from:
  - python_file: jobs.py
  - python_file: {relative_path: more/jobs.py, location_name: more, attribute: defs, working_directory: more}
  - python_module: {module_name: reports.jobs, executable_path: venv/bin/python}
  - python_package: {package_name: shop, executable_path: python3.12}
  - code_server: {host: 10.0.0.7, port: 4266, location_name: far}
"""
    files, more, module, package, far = of_workspace(workspace(tmp_path, text))
    assert (files.name, files.code.file, files.code.python) == ("jobs.py", str(tmp_path / "jobs.py"), None)
    assert (more.name, more.code.file) == ("more", str(tmp_path / "more/jobs.py"))
    assert (more.code.attribute, more.code.working_directory) == ("defs", str(tmp_path / "more"))
    assert (module.name, module.code.module) == ("reports.jobs", "reports.jobs")
    assert module.code.python == str(tmp_path / "venv/bin/python")  # seen from the file
    assert (package.name, package.code.package, package.code.python) == ("shop", "shop", "python3.12")
    assert (far.name, far.server) == ("far", Address("10.0.0.7", 4266))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("locations: []", "must have a list load_from"),
        ("load_from: [jobs.py]", "load_from holds 'jobs.py'; each entry is one of python_file"),
        ("load_from: [{python_fil: jobs.py}]", "no 'python_fil' in load_from. Did you mean 'python_file'?"),
        ("load_from: [{python_file: {path: jobs.py}}]", "python_file needs a relative_path"),
        ("load_from: [{python_module: [a]}]", "python_module needs a module_name"),
        (
            "load_from: [{python_file: {relative_path: jobs.py, locationname: x}}]",
            "python_file has no key 'locationname'. Did you mean 'location_name'?",
        ),
        (
            "load_from: [{python_file: {relative_path: jobs.py, location_name: 7}}]",
            "python_file: location_name must be a text, not 7",
        ),
        (
            "load_from: [{code_server: {port: 80, location_name: x, hots: y}}]",
            "code_server has no key 'hots'. Did you mean 'host'?",
        ),
        ("load_from: [{code_server: {port: 0, location_name: x}}]", "a port from 1 to 65535"),
        ("load_from: [{code_server: {port: 80, location_name: x, host: 7}}]", "host must be a text, not 7"),
        ("load_from: [", "is not YAML"),
        ("load_from: 2026-02-30", "is not YAML: '2026-02-30' cannot be read as timestamp"),
        ("load_from: " + "[" * 3000, "is not YAML: it is nested too deeply"),
        ("load_from: &all [*all]", "is not YAML: this value holds itself"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = workspace(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        of_workspace(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_in_another_encoding_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("workspace.yaml").write_bytes("load_from: []  # a café\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"workspace.yaml is not YAML"):
        sources(())
    Path("workspace.yaml").unlink()
    Path("pyproject.toml").write_bytes("[tool.opgrid]  # a café\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"pyproject.toml is not TOML"):
        sources(())


def test_two_of_one_name(tmp_path: Path) -> None:
    path = workspace(tmp_path, "load_from: [{python_file: a/jobs.py}, {python_file: b/jobs.py}]")
    with pytest.raises(SettingsError, match=r"Two code locations are named 'jobs.py'.*location_name"):
        sources((), [path])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("module_nam = 'shop'", r"has no key 'module_nam'. Did you mean 'module_name'\?"),
        ("module_name = 7", "module_name must be a text, not 7"),
        ("location_name = 'shop'", "needs one of python_file, module_name, package_name"),
        ("module_name = 'a'\npython_file = 'b.py'", "needs one of python_file, module_name, package_name"),
        ("module_name = ", "is not TOML"),
    ],
)
def test_a_project_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text(f"[tool.opgrid]\n{text}\n")
    with pytest.raises(SettingsError, match=said):
        sources(())


def test_a_project_and_a_workspace_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="There is no code: name it with -f FILE"):
        sources(())
    Path("pyproject.toml").write_text("[tool.opgrid]\nmodule_name = 'shop.jobs'\nlocation_name = 'shop'\n")
    (project,) = sources(())
    assert (project.name, project.code.module, project.code.working_directory) == ("shop", "shop.jobs", str(tmp_path))
    workspace(tmp_path, "load_from: [{python_file: jobs.py}]")
    (found,) = sources(())
    assert found.name == "jobs.py"
