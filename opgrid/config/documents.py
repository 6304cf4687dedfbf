"""YAML documents, read so that none becomes more than it says."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import yaml

#: Characters that aliases may add to a document: ten lines, each of which repeats the one before ten times, would come
#: to more than a memory holds.
REPEATED: Final = 4 * 2**20


def document(text: str | bytes) -> Any:
    """What a text holds. Raises yaml.YAMLError, with the place where one is to blame."""
    import yaml

    loader = _loader()(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check_aliases(root)
        return loader.construct_document(root)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    finally:
        loader.dispose()


@cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Tells where a value is that is not what its tag or its look promises, such as 2026-02-30."""

        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (ValueError, LookupError, AttributeError, OverflowError) as error:
                problem = f"{str(node.value)[:40]!r} cannot be read as {node.tag.rpartition(':')[2]}"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from error

    return Loader


def _check_aliases(root: yaml.Node) -> None:
    import yaml

    written: dict[int, int] = {}  # length of each node with its aliases written out; 0 while it is looked into
    length = 0

    def written_out(node: yaml.Node) -> int:
        nonlocal length
        if id(node) not in written:
            written[id(node)] = 0
            match node:
                case yaml.MappingNode():
                    own, inside = 1, sum(written_out(each) for pair in node.value for each in pair)
                case yaml.SequenceNode():
                    own, inside = 1, sum(map(written_out, node.value))
                case _:
                    own, inside = 1 + len(node.value), 0
            written[id(node)] = own + inside
            length += own
        elif not written[id(node)]:
            raise yaml.MarkedYAMLError(problem="this value holds itself", problem_mark=node.start_mark)
        return written[id(node)]

    if written_out(root) - length > REPEATED:
        raise yaml.YAMLError(f"its aliases make it longer by more than {REPEATED:,} characters")
