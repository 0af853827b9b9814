"""Global ids: opaque to clients, they name a type and one thing of it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from domain.access_token import PersonalAccessToken
from domain.account import Session, User
from domain.errors import InvalidInput, NotFound
from domain.generation import Generation
from domain.provider import ApiKey
from domain.publication import NotionPage, Publication

Node = User | Session | PersonalAccessToken | ApiKey | Generation | Publication | NotionPage


class NodeType(StrEnum):
    """The types of things that have a global id, by their names in the schema."""

    USER = "User"
    SESSION = "Session"
    ACCESS_TOKEN = "AccessToken"  # noqa: S105  (a type's name)
    API_KEY = "ApiKey"
    GENERATION = "Generation"
    PUBLICATION = "Publication"
    NOTION_PAGE = "NotionPage"
    ACCOUNT_LINK = "AccountLink"


_TYPES: dict[type[Node], NodeType] = {
    User: NodeType.USER,
    Session: NodeType.SESSION,
    PersonalAccessToken: NodeType.ACCESS_TOKEN,
    ApiKey: NodeType.API_KEY,
    Generation: NodeType.GENERATION,
    Publication: NodeType.PUBLICATION,
    NotionPage: NodeType.NOTION_PAGE,
}
_NOUNS = {
    NodeType.USER: "user",
    NodeType.SESSION: "session",
    NodeType.ACCESS_TOKEN: "token",
    NodeType.API_KEY: "key",
    NodeType.GENERATION: "generation",
    NodeType.PUBLICATION: "publication",
    NodeType.NOTION_PAGE: "page",
    NodeType.ACCOUNT_LINK: "link",
}


@dataclass(frozen=True, slots=True)
class GlobalId:
    """What a global id says."""

    type: NodeType
    id: UUID

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.type}:{self.id.hex}".encode()).decode().rstrip("=")


def encode(type_: NodeType, id_: UUID) -> str:
    """The global id of one thing."""
    return str(GlobalId(type_, id_))


def id_of(node: Node) -> str:
    """The global id of a domain object."""
    return encode(_TYPES[type(node)], node.id)


def decode(global_id: str, *, field: tuple[str, ...] = ("id",)) -> GlobalId:
    """Reads an id. Raises InvalidInput for anything that `encode` has not made."""
    try:
        padded = global_id + "=" * (-len(global_id) % 4)
        name, _, hex_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").partition(":")
        found = GlobalId(NodeType(name), UUID(hex=hex_id))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("This is not an id of this server.", field=field) from error
    if str(found) != global_id:
        raise InvalidInput("This is not an id of this server.", field=field)
    return found


def decode_as(type_: NodeType, global_id: str, *, field: tuple[str, ...] = ("id",)) -> UUID:
    """Reads the id of a thing of one type. Raises InvalidInput, and NotFound for an id of another type."""
    found = decode(global_id, field=field)
    if found.type is not type_:
        raise NotFound(f"There is no such {_NOUNS[type_]}.", field=field)
    return found.id
