"""How much one document may ask for, counted in one pass before the costlier validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

MAX_DOCUMENT_CHARS: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLimits:
    """Upper bounds, fragments counted wherever they are spread; the standard introspection query fits.

    The parser itself keeps to the first three: it takes some 5 microseconds a token. A comparison, of two fields that
    answer under the same name, takes validation some 2 microseconds.
    """

    max_chars: int = MAX_DOCUMENT_CHARS
    max_tokens: int = 2_000
    max_comments: int = 500
    max_operations: int = 20
    max_depth: int = 15
    max_root_fields: int = 50
    max_fields: int = 500
    max_aliases: int = 100
    max_directives: int = 100
    max_fragments: int = 200
    max_comparisons: int = 4_000
    max_cost: int = 20_000


class Count:
    """What was counted in a document, until it was too much: `excess` says so in a sentence."""

    def __init__(self, limits: DocumentLimits) -> None:
        self._limits = limits
        self.excess: str | None = None
        self.operations = 0
        self.depth = 0
        self.root_fields = 0
        self.fields = 0
        self.aliases = 0
        self.directives = 0
        self.fragments = 0
        self.comparisons = 0

    def is_too_much(self) -> bool:
        """Whether any limit is exceeded by now."""
        limits = self._limits
        for what, count, limit in (
            ("operations", self.operations, limits.max_operations),
            ("levels of fields", self.depth, limits.max_depth),
            ("fields at the root", self.root_fields, limits.max_root_fields),
            ("fields", self.fields, limits.max_fields),
            ("aliases", self.aliases, limits.max_aliases),
            ("directives", self.directives, limits.max_directives),
            ("fragments", self.fragments, limits.max_fragments),
            ("repetitions of fields", self.comparisons, limits.max_comparisons),
        ):
            if count > limit:
                self.excess = f"The document has too many {what}; at most {limit:,} are allowed."
                return True
        return False


@dataclass(slots=True)
class _Place:
    """Where fields answer under one name: how many there have been, and what is below them together."""

    fields: int = 0
    below: dict[str, _Place] = field(default_factory=dict)


def count(document: DocumentNode, limits: DocumentLimits) -> Count:
    """Counts, and stops as soon as it is too much, so the work is bounded whatever the document says."""
    counter = _Counter(document, limits)
    found = counter.count
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    found.operations = len(operations)
    found.fragments = len(counter.fragments)
    if found.is_too_much():
        return found
    for operation in operations:
        found.directives += len(operation.directives or ())
        counter.walk(operation.selection_set, {}, depth=1)
    # What nothing spreads is not run, but it is validated.
    for name in counter.fragments.keys() - counter.spread:
        counter.walk_fragment(name, {}, depth=1)
    return found


class _Counter:
    """Walks through a document as it would be run, every fragment where it is spread."""

    def __init__(self, document: DocumentNode, limits: DocumentLimits) -> None:
        self.fragments: Mapping[str, FragmentDefinitionNode] = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self.spread: set[str] = set()
        self.count = Count(limits)
        self._open: list[str] = []

    def walk(self, selection_set: SelectionSetNode, places: dict[str, _Place], *, depth: int) -> None:
        """Counts what is selected. The limits on depth and fragments bound the recursion."""
        count = self.count
        for selection in selection_set.selections:
            if count.excess is not None:
                return
            count.directives += len(selection.directives or ())
            match selection:
                case FieldNode():
                    self._walk_field(selection, places, depth=depth)
                case InlineFragmentNode():
                    count.fragments += 1
                    if not count.is_too_much():
                        self.walk(selection.selection_set, places, depth=depth)
                case FragmentSpreadNode():
                    count.fragments += 1
                    if not count.is_too_much():
                        self.walk_fragment(selection.name.value, places, depth=depth)

    def walk_fragment(self, name: str, places: dict[str, _Place], *, depth: int) -> None:
        """Counts a named fragment; nothing for one that is unknown or part of a circle, which validation tells."""
        self.spread.add(name)
        fragment = self.fragments.get(name)
        if fragment is None or name in self._open:
            return
        self.count.directives += len(fragment.directives or ())
        self._open.append(name)
        self.walk(fragment.selection_set, places, depth=depth)
        self._open.pop()

    def _walk_field(self, selection: FieldNode, places: dict[str, _Place], *, depth: int) -> None:
        count = self.count
        place = places.setdefault((selection.alias or selection.name).value, _Place())
        count.fields += 1
        count.root_fields += depth == 1
        count.aliases += selection.alias is not None
        # Validation compares every two fields that answer at the same place.
        count.comparisons += place.fields
        place.fields += 1
        count.depth = max(count.depth, depth)
        if not count.is_too_much() and selection.selection_set is not None:
            self.walk(selection.selection_set, place.below, depth=depth + 1)
