"""What one source file contains. Pure: bytes in, numbers out."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Function:
    """``complexity`` is McCabe's: the independent ways through the body, nested functions not counted in."""

    name: str  #: qualified within its module
    line: int
    complexity: int


@dataclass(frozen=True, slots=True)
class Import:
    """``from base import names``, or ``import base`` without names. ``lazy``: not while the module is imported."""

    base: str
    names: tuple[str, ...] = ()
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """The numbers of one module. With a ``problem`` there was nothing to count but lines."""

    module: str
    lines: int = 0
    functions: int = 0
    classes: int = 0
    branches: int = 0  #: decision points anywhere in the file
    complexity: int = 0  #: of all functions together
    documentable: int = 0  #: the module, its public classes, and their and its public functions
    documented: int = 0  #: those of them that have a docstring
    hardest: Function | None = None
    imports: tuple[Import, ...] = ()
    problem: str | None = None


def measure(content: bytes, module: str, is_package: bool = False) -> Measure:
    """Never raises for what is in the file: a library may well hold files that are no Python."""
    lines = len(content.splitlines())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own deprecated escapes are not our news
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        return Measure(module, lines, problem=f"{type(error).__name__}: {_reason(error)}")
    count = _Count(module, is_package)
    count.all_in(tree)
    hardest = max(count.functions, key=lambda each: (each.complexity, -each.line, each.name), default=None)
    return Measure(
        module=module,
        lines=lines,
        functions=len(count.functions),
        classes=count.classes,
        branches=count.branches,
        complexity=sum(each.complexity for each in count.functions),
        documentable=count.documentable,
        documented=count.documented,
        hardest=hardest,
        imports=tuple(sorted(set(count.imports), key=lambda each: (each.base, each.names, each.lazy))),
    )


def _reason(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


@dataclass(slots=True)
class _Scope:
    """What the walk is inside of."""

    name: str
    public: bool
    in_function: bool = False
    lazy: bool = False
    decisions: list[int] = field(default_factory=lambda: [0])  #: shared by a function and the classes in it

    def inner(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name


@dataclass(slots=True)
class _Count:
    module: str
    is_package: bool
    functions: list[Function] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    classes: int = 0
    branches: int = 0
    documentable: int = 0
    documented: int = 0

    def all_in(self, tree: ast.Module) -> None:
        """Without recursion: how deep an expression nests is the library's choice."""
        self._document(tree)
        open_functions: list[tuple[_FunctionNode, _Scope]] = []
        todo: list[tuple[ast.AST, _Scope]] = [(tree, _Scope("", public=True))]
        while todo:
            node, scope = todo.pop()
            decisions = decision_points(node)
            self.branches += decisions
            scope.decisions[0] += decisions
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports += imports_of(node, self.module, self.is_package, scope.lazy)
            elif isinstance(node, _FunctionNode):
                inner = self._enter(node, scope)
                open_functions.append((node, inner))
                todo += [(child, inner) for child in node.body]
                todo += [(child, scope) for child in _header(node)]
                continue
            elif isinstance(node, ast.ClassDef):
                self.classes += 1
                inner = self._enter(node, scope)
                todo += [(child, inner) for child in node.body]
                todo += [(child, scope) for child in _header(node)]
                continue
            elif isinstance(node, ast.If) and _is_type_checking(node.test):
                todo += [(child, _lazy(scope)) for child in node.body]
                todo += [(child, scope) for child in node.orelse]
                continue
            todo += [(child, scope) for child in ast.iter_child_nodes(node)]
        self.functions = [Function(scope.name, node.lineno, 1 + scope.decisions[0]) for node, scope in open_functions]

    def _enter(self, node: _FunctionNode | ast.ClassDef, outer: _Scope) -> _Scope:
        public = outer.public and not outer.in_function and not node.name.startswith("_")
        if public:
            self._document(node)
        if isinstance(node, ast.ClassDef):
            return _Scope(outer.inner(node.name), public, outer.in_function, outer.lazy, outer.decisions)
        return _Scope(outer.inner(node.name), public, in_function=True, lazy=True)

    def _document(self, node: ast.Module | ast.ClassDef | _FunctionNode) -> None:
        self.documentable += 1
        self.documented += bool((ast.get_docstring(node, clean=False) or "").strip())


def _lazy(scope: _Scope) -> _Scope:
    return _Scope(scope.name, scope.public, scope.in_function, True, scope.decisions)


def _header(node: _FunctionNode | ast.ClassDef) -> Iterator[ast.AST]:
    """What of a definition is run outside its body: decorators, defaults, bases."""
    yield from node.decorator_list
    if isinstance(node, ast.ClassDef):
        yield from node.bases
        yield from node.keywords
    else:
        yield node.args


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def decision_points(node: ast.AST) -> int:
    """How many ways a node adds to those through its function."""
    match node:
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler():
            return 1
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.comprehension(ifs=ifs):
            return 1 + len(ifs)
        case ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None):
            return 0
        case ast.match_case():
            return 1
        case _:
            return 0


def imports_of(node: ast.Import | ast.ImportFrom, module: str, is_package: bool, lazy: bool) -> Iterable[Import]:
    """Absolute, whatever was written."""
    if isinstance(node, ast.Import):
        return [Import(alias.name, (), lazy) for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        keep = len(parts) - node.level + is_package
        base = ".".join([*parts[: max(keep, 0)], *([node.module] if node.module else [])])
    return [Import(base, tuple(sorted(alias.name for alias in node.names)), lazy)]
