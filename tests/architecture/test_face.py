"""What users import from opgrid."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import opgrid


def test_every_name_is_there_and_is_known_to_type_checkers() -> None:
    assert len(set(opgrid.__all__)) == len(opgrid.__all__)
    tree = ast.parse(Path(opgrid.__file__).read_text())
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(typed) == set(opgrid.__all__)
    for name, (module, there) in typed.items():
        assert getattr(opgrid, name) is getattr(sys.modules[str(module)], there), name


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys, opgrid; print([name for name in sys.modules if name.startswith(('opgrid.', 'pydantic'))])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
