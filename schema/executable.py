"""A Strawberry schema as this server runs it: access guarded, documents limited, errors left to their one door."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext
from strawberry.types.scalar import ScalarDefinition

from schema.access import enforce_access
from schema.documents import document_reader
from schema.errors import cause_of
from schema.limits import DocumentLimits

_SUGGESTION: Final = re.compile(r" Did you mean .*", re.DOTALL)


class ExecutableSchema(strawberry.Schema):
    """Built from root types; `scalars` maps Python types to GraphQL's."""

    def __init__(
        self,
        *,
        query: type,
        mutation: type | None = None,
        subscription: type | None = None,
        types: Iterable[type] = (),
        scalars: Mapping[object, ScalarDefinition] | None = None,
        limits: DocumentLimits | None = None,
    ) -> None:
        super().__init__(
            query=query,
            mutation=mutation,
            subscription=subscription,
            types=types,
            extensions=[document_reader(limits or DocumentLimits())],
            config=StrawberryConfig(scalar_map=dict(scalars or {})),
        )
        _drop_null_defaults(self._schema)
        enforce_access(self._schema)

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Takes GraphQL's guesses at names from those who may not read the schema, whatever stage has made them.

        Logs nothing: Strawberry would log expected failures too, and `schema.errors` logs the others.
        """
        if execution_context is None or execution_context.context.may_inspect:
            return
        for error in errors:
            if cause_of(error) is None:
                error.message = _SUGGESTION.sub("", error.message)


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Lets `x: Int = null` read `x: Int`: where Python's default is None, leaving out and null mean the same."""
    for type_ in schema.type_map.values():
        inputs: list[GraphQLInputField | GraphQLArgument] = []
        if isinstance(type_, GraphQLInputObjectType):
            inputs = [*type_.fields.values()]
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            inputs = [argument for field in type_.fields.values() for argument in field.args.values()]
        for each in inputs:
            if each.default_value is None:
                each.default_value = Undefined
