"""Who may ask for what: each root field and each type of thing with an owner says so, and is kept to it.

A field of Query, Mutation or Subscription has `directives=[Access(...)]`, and so has every type that is a Node; any
other field may have one besides. What has none is part of what leads to it. A schema that lacks a rule is not built.
A type's own rule is about whose thing it is; the scope was asked for on the way to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import strawberry
from graphql import GraphQLField, GraphQLNamedType, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema
from strawberry.schema_directive import Location

from domain.access import Rule, Who
from domain.account import Scope, User
from domain.errors import AssistantError, NotFound, Unauthenticated
from resolvers.context import Context

_STRAWBERRY_DEFINITION: Final = "strawberry-definition"
_NODE: Final = "Node"

_log = logging.getLogger("schema")

Resolve = Callable[..., Any]  # graphql-core's own type
Failed = Callable[[AssistantError], object]


@strawberry.schema_directive(
    name="access",
    locations=[Location.FIELD_DEFINITION, Location.OBJECT],
    description="Who may have this, and the scope that a personal access token needs for it.",
)
class Access:
    who: Who = strawberry.field(description="Who may.")
    scope: Scope | None = strawberry.field(
        default=strawberry.UNSET,
        description="What a token must be good for; without it no token will do, unless anyone may.",
    )

    @property
    def rule(self) -> Rule:
        """As it is applied."""
        return Rule(who=self.who, scope=self.scope or None)


ANYONE: Final = Access(who=Who.ANYONE)
SESSION: Final = Access(who=Who.SIGNED_IN)
READ: Final = Access(who=Who.SIGNED_IN, scope=Scope.READ)
GENERATE: Final = Access(who=Who.SIGNED_IN, scope=Scope.GENERATE)
PUBLISH: Final = Access(who=Who.SIGNED_IN, scope=Scope.PUBLISH)
MANAGE: Final = Access(who=Who.SIGNED_IN, scope=Scope.ADMIN)
ADMINISTER: Final = Access(who=Who.ADMINISTRATOR, scope=Scope.ADMIN)
ADMINISTER_IN_PERSON: Final = Access(who=Who.ADMINISTRATOR)
OWNER: Final = Access(who=Who.OWNER)
OWNER_READS: Final = Access(who=Who.OWNER, scope=Scope.READ)
OWNER_OR_ADMINISTRATOR: Final = Access(who=Who.OWNER_OR_ADMINISTRATOR)


class UnruledError(TypeError):
    """A part of the schema does not say who may have it."""


def rule_of(part: GraphQLField | GraphQLNamedType) -> Rule | None:
    """What a field or type says of itself."""
    definition = part.extensions.get(_STRAWBERRY_DEFINITION)
    directives = getattr(definition, "directives", None) or ()
    return next((each.rule for each in directives if isinstance(each, Access)), None)


def enforce_access(schema: GraphQLSchema) -> None:
    """Puts a guard before everything that has a rule. Raises UnruledError for what must have one and has none."""
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or type_.name.startswith("__"):
            continue
        if (rule := rule_of(type_)) is not None:
            _guard_type(type_, rule)
        elif any(interface.name == _NODE for interface in type_.interfaces):
            raise UnruledError(
                f"The type {type_.name} has an owner and no rule: @strawberry.type(directives=[Access()])"
            )
        for name, field in type_.fields.items():
            if (rule := rule_of(field)) is not None:
                _guard_field(field, rule)
            elif type_ in roots:
                raise UnruledError(
                    f"The field {type_.name}.{name} has no rule: strawberry.field(directives=[Access()])"
                )


def _guard_field(field: GraphQLField, rule: Rule) -> None:
    definition = field.extensions.get(_STRAWBERRY_DEFINITION)
    # A mutation's failures are data.
    failed = next((each.failed for each in getattr(definition, "extensions", ()) if hasattr(each, "failed")), None)
    # A subscription is refused where it begins; its `resolve` sees the events.
    if field.subscribe is not None:
        field.subscribe = _guarded(field.subscribe, rule, failed)
    elif field.resolve is not None:
        field.resolve = _guarded(field.resolve, rule, failed)


def _guarded(resolve: Resolve, rule: Rule, failed: Failed | None) -> Resolve:
    def guarded(source: object, info: GraphQLResolveInfo[Context], **arguments: object) -> object:
        refusal = rule.find_refusal(info.context.viewer, owner_id=_owner_id(source))
        if refusal is None:
            return resolve(source, info, **arguments)
        if isinstance(refusal, Unauthenticated):
            refusal = info.context.refusal or refusal  # It may be known why nobody is signed in any more.
        if failed is None:
            raise refusal
        return failed(refusal)

    return guarded


def _guard_type(type_: GraphQLObjectType, rule: Rule) -> None:
    """Withholds another's thing, once for the whole object: services never answer one, so it would be their fault."""
    is_type_of = type_.is_type_of
    if is_type_of is None:
        raise UnruledError(f"The type {type_.name} has a rule and no `is_type_of`, where it is applied.")

    def guarded(value: object, info: GraphQLResolveInfo[Context]) -> bool:
        is_it = bool(is_type_of(value, info))
        viewer = info.context.viewer
        if is_it and (viewer is None or not rule.admits(viewer, owner_id=_owner_id(value))):
            _log.error("foreign_object_withheld", extra={"type": type_.name, "path": info.path.as_list()})
            raise NotFound("There is no such thing.")
        return is_it

    type_.is_type_of = guarded


def _owner_id(thing: object) -> UUID | None:
    owner_id = thing.id if isinstance(thing, User) else getattr(thing, "user_id", None)
    return owner_id if isinstance(owner_id, UUID) else None
