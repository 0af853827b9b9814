"""Links that administrators make: invitations, and for forgotten passwords."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import account_link as domain
from domain.account import Role
from domain.account_link import LinkPurpose
from resolvers import account_link as resolve
from resolvers import connection
from schema.access import ADMINISTER
from schema.account import User
from schema.page_info import PageInfo


@strawberry.type(
    description="A link by which somebody gets in once, without its secret, which nobody is shown again.",
    directives=[ADMINISTER],
)
class AccountLink:
    id: strawberry.ID = strawberry.field(
        resolver=resolve.link_id, description="Opaque, and unique among everything on this server."
    )
    purpose: LinkPurpose = strawberry.field(description="What it is good for.")
    role: Role | None = strawberry.field(description="The rights of the account that an invitation makes.")
    user = strawberry.field(
        resolver=resolve.link_user, graphql_type=User | None, description="Whose password it is for."
    )
    created_by = strawberry.field(
        resolver=resolve.link_created_by, graphql_type=User | None, description="Who has made it."
    )
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime = strawberry.field(description="When it runs out.")
    used_at: datetime | None = strawberry.field(description="When it was used; null if never.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Where the rule of the type is applied."""
        return isinstance(value, domain.AccountLink)


@strawberry.type(description="A link and its place in the list.")
class AccountLinkEdge:
    cursor: str = strawberry.field(description="Its place, to be given as `after` or `before`.")
    node: AccountLink = strawberry.field(description="The link.")


@strawberry.type(description="A page of links, the newest first.")
class AccountLinkConnection:
    edges = strawberry.field(
        resolver=connection.edges, graphql_type=list[AccountLinkEdge], description="The links with their cursors."
    )
    nodes = strawberry.field(resolver=connection.nodes, graphql_type=list[AccountLink], description="The links.")
    page_info = strawberry.field(
        resolver=connection.page_info, graphql_type=PageInfo, description="Where the page begins and ends."
    )
    total_count = strawberry.field(
        resolver=connection.total_count, graphql_type=int, description="How many links there are on all pages together."
    )
