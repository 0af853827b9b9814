"""Keyset pagination: which slice of an ordered list is asked for, and the slice itself."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Generic, Self, TypeVar
from uuid import UUID

from domain.errors import InvalidInput

T = TypeVar("T")

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20


def encode_cursor(item_id: UUID) -> str:
    """The opaque cursor of a list item; ids are time-ordered, so the id alone is the position."""
    return base64.urlsafe_b64encode(item_id.bytes).decode().rstrip("=")


def decode_cursor(cursor: str, *, field: str) -> UUID:
    """The id in a cursor. Raises InvalidInput for anything that `encode_cursor` has not made."""
    try:
        item_id = UUID(bytes=base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"`{field}` is not a cursor of this list.", field=(field,)) from error
    if encode_cursor(item_id) != cursor:
        raise InvalidInput(f"`{field}` is not a cursor of this list.", field=(field,))
    return item_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """`size` items after `after` and before `before`; from the far end when `is_backward`."""

    size: int
    after: UUID | None = None
    before: UUID | None = None
    is_backward: bool = False

    @classmethod
    def of(cls, *, first: int | None, after: str | None, last: int | None, before: str | None) -> Self:
        """Reads Relay's four arguments. Raises InvalidInput: first and last, a size not in 1..100, a bad cursor."""
        if first is not None and last is not None:
            raise InvalidInput("Give `first` or `last`, not both.", field=("last",))
        name, size = ("last", last) if last is not None else ("first", first)
        if size is not None and not 1 <= size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"`{name}` is {size}; it must be from 1 to {MAX_PAGE_SIZE}.", field=(name,))
        return cls(
            size=size or DEFAULT_PAGE_SIZE,
            after=None if after is None else decode_cursor(after, field="after"),
            before=None if before is None else decode_cursor(before, field="before"),
            is_backward=last is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A slice in list order, and whether there is more on either side."""

    items: tuple[T, ...]
    has_previous: bool
    has_next: bool
