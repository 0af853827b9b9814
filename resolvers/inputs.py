"""Inputs that several mutations share."""

from __future__ import annotations

import strawberry


@strawberry.input(description="Names one thing.")
class IdInput:
    id: strawberry.ID = strawberry.field(description="Its id.")


@strawberry.input(description="Names several things.")
class IdsInput:
    ids: list[strawberry.ID] = strawberry.field(description="Their ids, 1 to 100.")
