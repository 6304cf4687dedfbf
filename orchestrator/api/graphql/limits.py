"""How much one question may ask: how deep, and by how many other names."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
)

DEPTH: Final = 15  #: that of introspection is 13
ALIASES: Final = 30


class _Size(NamedTuple):
    depth: int
    aliases: int


_NOTHING: Final = _Size(0, 0)


class Limits(ValidationRule):
    """Fragments count wherever they are spread, and are looked into once: a hundred, each of which spreads the next one
    twice, would never come to an end otherwise.
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._fragments: dict[str, SelectionSetNode] = {}
        self._known: dict[str, _Size] = {}

    def enter_document(self, document: DocumentNode, *_: Any) -> None:
        for each in document.definitions:
            if isinstance(each, FragmentDefinitionNode):
                self._fragments[each.name.value] = each.selection_set
        aliases = 0
        for each in document.definitions:
            if isinstance(each, OperationDefinitionNode):
                size = self._size(each.selection_set)
                aliases += size.aliases
                if size.depth > DEPTH:
                    name = each.name.value if each.name else "anonymous"
                    message = f"'{name}' exceeds maximum operation depth of {DEPTH}"
                    self.report_error(GraphQLError(message, each))
        if aliases > ALIASES:
            self.report_error(GraphQLError(f"{aliases} aliases found. Allowed: {ALIASES}"))

    def _size(self, selected: SelectionSetNode) -> _Size:
        """Introspection may be deeper: it has a limit of its own."""
        depth = aliases = 0
        for each in selected.selections:
            match each:
                case FragmentSpreadNode():
                    inside = self._fragment(each.name.value)
                case InlineFragmentNode():
                    inside = self._size(each.selection_set)
                case FieldNode():
                    inside = self._size(each.selection_set) if each.selection_set else _NOTHING
                    is_deeper = each.selection_set is not None and not each.name.value.startswith("__")
                    inside = _Size(inside.depth + 1 if is_deeper else 0, inside.aliases + (each.alias is not None))
                case _:
                    raise TypeError(each.kind)
            depth = max(depth, inside.depth)
            aliases += inside.aliases
        return _Size(depth, aliases)

    def _fragment(self, name: str) -> _Size:
        """Nothing for one that is not there, or spreads itself: other rules refuse these."""
        if name not in self._known:
            self._known[name] = _NOTHING
            if name in self._fragments:
                self._known[name] = self._size(self._fragments[name])
        return self._known[name]
