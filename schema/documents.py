"""Parsing and validation of documents, skipped for those that clients send again and again."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import strawberry
from graphql import (
    DocumentNode,
    GraphQLError,
    MaxIntrospectionDepthRule,
    OperationDefinitionNode,
    StringValueNode,
    Visitor,
    specified_rules,
    visit,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types.graphql import OperationType

from domain.errors import ErrorCode, RateLimited, Unauthenticated
from domain.rate_limit import Rate
from schema.cost import OperationCost, costs_of
from schema.limits import DocumentLimits, count

VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
_RULES = (*specified_rules, MaxIntrospectionDepthRule)
_INTROSPECTION: Final = re.compile(r"\b__(?:schema|type)\b")
_MAX_REMEMBERED_CHARS = 262_144  # up to 250 bytes of syntax tree for each
_MAX_REMEMBERED_QUERY_CHARS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidDocument:
    """A document that was found valid, and what its operations cost, by their names."""

    document: DocumentNode
    costs: Mapping[str | None, OperationCost]

    def points(self, operation_name: str | None, variables: Mapping[str, object] | None) -> int:
        """The cost of the operation that is to be run."""
        only, *_ = self.costs.values()
        return self.costs.get(operation_name, only).points(variables)


class ValidDocuments:
    """Documents found valid, by their text, up to a bound; one set belongs to one schema."""

    def __init__(self) -> None:
        self._documents: OrderedDict[str, ValidDocument] = OrderedDict()
        self._chars = 0

    def recall(self, query: str) -> ValidDocument | None:
        """The document of this very text."""
        document = self._documents.get(query)
        if document is not None:
            self._documents.move_to_end(query)
        return document

    def remember(self, query: str, document: ValidDocument) -> None:
        """Keeps a document, and lets go of those that were not asked for the longest."""
        if len(query) > _MAX_REMEMBERED_QUERY_CHARS or query in self._documents:
            return
        self._documents[query] = document
        self._chars += len(query)
        while self._chars > _MAX_REMEMBERED_CHARS:
            forgotten, _ = self._documents.popitem(last=False)
            self._chars -= len(forgotten)


class DocumentReader(SchemaExtension):
    """Adds limits and memory to Strawberry's parsing and validation of one operation.

    Nothing may be raised here: a streaming operation would end without a word. Faults travel as pre-execution errors.
    """

    def __init__(self, valid: ValidDocuments, limits: DocumentLimits) -> None:
        super().__init__()
        self._valid = valid
        self._limits = limits
        # Strawberry's own type of these knows the older name of one only.
        self._parser_limits: Any = {
            "max_source_length": limits.max_chars,
            "max_lexical_tokens": limits.max_tokens,
            "max_comments": limits.max_comments,
        }
        self._found: ValidDocument | None = None

    def on_parse(self) -> Iterator[None]:
        """Recalls the document, or counts what the one holds that Strawberry has parsed meanwhile."""
        context = self.execution_context
        query = context.query or ""
        self._found = self._valid.recall(query)
        context.graphql_document = None if self._found is None else self._found.document
        context.parse_options.update(self._parser_limits)
        yield
        document = context.graphql_document
        if document is None:
            return  # a syntax error, which Strawberry reports
        fault = self._find_fault(query, document) if self._found is None else None
        if fault is None and context._provided_operation_name is None and _has_several_operations(document):
            fault = "The document has several operations: say which one by `operationName`."
        if fault is not None:
            self._refuse(fault)

    async def on_validate(self) -> AsyncIterator[None]:
        """Validates a document that is neither known to be valid nor refused already, and weighs the operation."""
        context = self.execution_context
        if context.pre_execution_errors is None:
            context.pre_execution_errors = []
            if self._found is None and context.graphql_document is not None:
                self._found = self._validate(context.schema, context.query or "", context.graphql_document)
            if self._found is not None and self._is_hidden(context.query or ""):
                failure = Unauthenticated("Sign in to read the schema.")
                context.pre_execution_errors = [GraphQLError(failure.message, original_error=failure)]
            elif self._found is not None:
                await self._weigh(self._found)
                if context.operation_type is OperationType.SUBSCRIPTION:
                    context.context.wait_for_events()
        yield

    def _is_hidden(self, query: str) -> bool:
        return _INTROSPECTION.search(query) is not None and not self.execution_context.context.may_inspect

    async def _weigh(self, found: ValidDocument) -> None:
        context = self.execution_context
        cost = found.points(context._provided_operation_name, context.variables)
        context.context.cost = cost
        if cost > self._limits.max_cost:
            self._refuse(f"The operation costs {cost:,} points; at most {self._limits.max_cost:,} are allowed.")
            return
        try:
            await context.context.spend(Rate.COST, points=cost)
        except RateLimited as failure:
            context.pre_execution_errors = [GraphQLError(failure.message, original_error=failure)]

    def _refuse(self, fault: str) -> None:
        error = GraphQLError(fault, extensions={"code": ErrorCode.INVALID_INPUT.value})
        self.execution_context.pre_execution_errors = [error]

    def _find_fault(self, query: str, document: DocumentNode) -> str | None:
        if (excess := count(document, self._limits).excess) is not None:
            return excess
        # U+0000 stands for itself in a string, or is escaped.
        if ("\x00" in query or "\\u" in query) and _holds_nul(document):
            return "A string holds a NUL character (U+0000)."
        return None

    def _validate(self, schema: strawberry.Schema, query: str, document: DocumentNode) -> ValidDocument | None:
        errors = validate_document(schema._schema, document, _RULES)
        for error in errors:
            error.extensions = {"code": VALIDATION_FAILED}
        self.execution_context.pre_execution_errors = errors
        if errors:
            return None
        found = ValidDocument(document=document, costs=costs_of(document, schema._schema))
        self._valid.remember(query, found)
        return found


def document_reader(limits: DocumentLimits) -> Callable[[], DocumentReader]:
    """A factory for one schema's `extensions`: its readers share what they remember."""
    valid = ValidDocuments()
    return lambda: DocumentReader(valid, limits)


def _has_several_operations(document: DocumentNode) -> bool:
    return sum(isinstance(each, OperationDefinitionNode) for each in document.definitions) > 1


def _holds_nul(document: DocumentNode) -> bool:
    finder = _NulFinder()
    visit(document, finder)
    return finder.is_found


class _NulFinder(Visitor):
    """Looks for U+0000 in a document's strings."""

    def __init__(self) -> None:
        super().__init__()
        self.is_found = False

    def enter_string_value(self, node: StringValueNode, *_: object) -> None:
        """Called by `visit`."""
        self.is_found = self.is_found or "\x00" in node.value
