"""Accounts and sign-ins."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import strawberry

from domain import account as domain
from domain.account import Role
from domain.budget import BudgetPeriod
from resolvers import access_token as resolve_access_token
from resolvers import account as resolve
from resolvers import session as resolve_session
from resolvers.budget import budget_of, budgets_of
from resolvers.history import history
from resolvers.usage import usage_of
from schema.access import OWNER, OWNER_OR_ADMINISTRATOR, OWNER_READS
from schema.access_token import AccessToken
from schema.api_key import ApiKey
from schema.budget import Budget
from schema.history import HistoryConnection
from schema.node import Node
from schema.notion import NotionConnection
from schema.session import Session
from schema.settings import UserSettings
from schema.usage import UsageTotals


@strawberry.type(description="An account.", directives=[OWNER_OR_ADMINISTRATOR])
class User(Node):
    email: str = strawberry.field(description="The email address.")
    username: str = strawberry.field(description="The name to sign in with and to be called by.")
    role: Role = strawberry.field(description="The account's rights.")
    is_active: bool = strawberry.field(description="Whether the account can sign in.")
    created_at: datetime = strawberry.field(description="When the account was made.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")
    settings = strawberry.field(
        resolver=resolve.settings,
        graphql_type=UserSettings,
        directives=[OWNER_READS],
        description="What is generated with, and where to.",
    )
    api_keys = strawberry.field(
        resolver=resolve.api_keys,
        graphql_type=list[ApiKey],
        directives=[OWNER_READS],
        description="The user's own keys at providers.",
    )
    sessions = strawberry.field(
        resolver=resolve_session.sessions,
        graphql_type=list[Session],
        description="The user's sign-ins that last, those seen last first. For the signed-in, not for tokens.",
        directives=[OWNER],
    )
    access_tokens = strawberry.field(
        resolver=resolve_access_token.access_tokens,
        graphql_type=list[AccessToken],
        description="The user's personal access tokens, newest first. For the signed-in, not for tokens.",
        directives=[OWNER],
    )
    notion = strawberry.field(
        resolver=resolve.notion,
        graphql_type=NotionConnection | None,
        directives=[OWNER_READS],
        description="The link to Notion, once connected.",
    )
    budget = strawberry.field(
        resolver=budget_of,
        graphql_type=Budget,
        description="The budget of which the least is left; the month's, without a limit, if there is none.",
    )
    usage = strawberry.field(
        resolver=usage_of, graphql_type=UsageTotals, description="What the user's calls to providers add up to."
    )
    budgets = strawberry.field(
        resolver=budgets_of, graphql_type=list[Budget], description="The user's budgets, the day's first."
    )
    history = strawberry.field(
        resolver=history,
        graphql_type=HistoryConnection,
        directives=[OWNER_READS],
        description="The user's generations, page by page.",
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.User)


@strawberry.type(description="What counts for one user, or for everybody of a role who has no limit of their own.")
class BudgetLimit:
    user: User | None = strawberry.field(description="The user; null when it is a role's.")
    role: Role | None = strawberry.field(description="The role; null when it is a user's.")
    period: BudgetPeriod = strawberry.field(description="How long the budget lasts.")
    limit: Decimal | None = strawberry.field(description="What each may spend, in USD; null is no limit.")
