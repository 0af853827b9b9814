"""What an operation costs: a point for each field, times the items of every list that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

_MUTATION_COST: Final = 10
_PAGE_ITEMS: Final = 20  # a page whose size is not said
_MAX_PAGE_ITEMS: Final = 100  # more is refused by whom it is asked of
_LIST_ITEMS: Final = 10  # a list that comes whole
_PAGE_SIZES: Final = ("first", "last")


@dataclass(slots=True)
class Cost:
    """Points of its own, and of what is repeated: by a number, or by a variable's value."""

    own: int = 0
    repeated: list[tuple[int | str, Cost]] = field(default_factory=list)

    def points(self, variables: Mapping[str, object]) -> int:
        """The sum for these variables."""
        return self.own + sum(_items(times, variables) * cost.points(variables) for times, cost in self.repeated)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationCost:
    """The cost of one operation, and what its variables are when they are not given."""

    cost: Cost
    defaults: Mapping[str, object]

    def points(self, variables: Mapping[str, object] | None) -> int:
        """The sum for these variables."""
        return self.cost.points({**self.defaults, **(variables or {})})


def costs_of(document: DocumentNode, schema: GraphQLSchema) -> Mapping[str | None, OperationCost]:
    """The cost of each operation of a valid document, by its name."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    costs: dict[str | None, OperationCost] = {}
    for each in document.definitions:
        if isinstance(each, OperationDefinitionNode):
            is_mutation = each.operation is OperationType.MUTATION
            cost = Cost(own=_MUTATION_COST * len(each.selection_set.selections) if is_mutation else 0)
            _Reader(schema, fragments).add(cost, each.selection_set, schema.get_root_type(each.operation))
            costs[None if each.name is None else each.name.value] = OperationCost(
                cost=cost, defaults=_defaults_of(each)
            )
    return costs


def _defaults_of(operation: OperationDefinitionNode) -> dict[str, object]:
    return {
        each.variable.name.value: int(each.default_value.value)
        for each in operation.variable_definitions or ()
        if isinstance(each.default_value, IntValueNode)
    }


def _items(times: int | str, variables: Mapping[str, object]) -> int:
    if isinstance(times, str):
        given = variables.get(times)
        times = given if isinstance(given, int) else _PAGE_ITEMS
    return min(max(times, 1), _MAX_PAGE_ITEMS)


class _Reader:
    """Adds up one operation's selections."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments

    def add(self, cost: Cost, selection_set: SelectionSetNode, parent: GraphQLNamedType | None) -> None:
        """Adds what is selected of a type. Limits counted before bound the recursion."""
        for selection in selection_set.selections:
            match selection:
                case FieldNode():
                    self._add_field(cost, selection, parent)
                case InlineFragmentNode():
                    condition = selection.type_condition
                    of_type = parent if condition is None else self._schema.get_type(condition.name.value)
                    self.add(cost, selection.selection_set, of_type)
                case FragmentSpreadNode():
                    fragment = self._fragments[selection.name.value]
                    self.add(cost, fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value))

    def _add_field(self, cost: Cost, selection: FieldNode, parent: GraphQLNamedType | None) -> None:
        cost.own += 1
        definition: GraphQLField | None = getattr(parent, "fields", {}).get(selection.name.value)
        # Introspection reads what is in memory anyway.
        if definition is None or selection.selection_set is None:
            return
        of_type = get_named_type(definition.type)
        times = self._times(selection, definition, is_in_page=bool(parent and parent.name.endswith("Connection")))
        below = cost
        if times != 1:
            below = Cost()
            cost.repeated.append((times, below))
        self.add(below, selection.selection_set, of_type)

    def _times(self, selection: FieldNode, definition: GraphQLField, *, is_in_page: bool) -> int | str:
        if "first" in definition.args:
            given = [each.value for each in selection.arguments or () if each.name.value in _PAGE_SIZES]
            return _size(given[0]) if given else _PAGE_ITEMS
        kind = definition.type.of_type if isinstance(definition.type, GraphQLNonNull) else definition.type
        # A page has been multiplied already.
        return _LIST_ITEMS if isinstance(kind, GraphQLList) and not is_in_page else 1


def _size(value: ValueNode) -> int | str:
    match value:
        case IntValueNode():
            return int(value.value)
        case VariableNode():
            return value.name.value
        case _:
            return _PAGE_ITEMS
