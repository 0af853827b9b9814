"""Things with a global id."""

from __future__ import annotations

import strawberry

from resolvers import node as resolve


@strawberry.interface(description="Anything that has an id of its own.")
class Node:
    id: strawberry.ID = strawberry.field(
        resolver=resolve.global_id, description="Opaque, and unique among everything on this server."
    )
