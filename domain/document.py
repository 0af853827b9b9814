"""An answer as a tree of blocks, in the vocabulary of a Notion page.

A document says what a page shows. It can always be shown: links and images have a web address that Notion takes,
equations and tables are small enough to be one (`EQUATION_UNITS`, `TABLE_COLUMNS`). It knows nothing of how much fits
into one request; that is for whoever writes the page.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Final

EQUATION_UNITS: Final = 1000
"""The longest expression of an equation, in UTF-16 units."""

ADDRESS_UNITS: Final = 2000
"""The longest web address, in UTF-16 units."""

TABLE_COLUMNS: Final = 100
"""The widest table."""


class Mark(StrEnum):
    """How a piece of text looks."""

    BOLD = "bold"
    ITALIC = "italic"
    STRIKETHROUGH = "strikethrough"
    UNDERLINE = "underline"
    CODE = "code"
    HIGHLIGHT = "highlight"


@dataclass(frozen=True, slots=True)
class Text:
    """Characters with one look and, perhaps, one link; a newline in them is a line break."""

    content: str
    marks: frozenset[Mark] = frozenset()
    link: str | None = None


@dataclass(frozen=True, slots=True)
class InlineEquation:
    """A KaTeX expression within a line."""

    expression: str
    marks: frozenset[Mark] = frozenset()


Run = Text | InlineEquation
RichText = tuple[Run, ...]


class ProseKind(StrEnum):
    """The blocks that are a text, with further blocks inside, and nothing else."""

    PARAGRAPH = "paragraph"
    HEADING_1 = "heading_1"
    HEADING_2 = "heading_2"
    HEADING_3 = "heading_3"
    HEADING_4 = "heading_4"
    BULLETED_LIST_ITEM = "bulleted_list_item"
    NUMBERED_LIST_ITEM = "numbered_list_item"
    QUOTE = "quote"
    TOGGLE = "toggle"


@dataclass(frozen=True, slots=True)
class Prose:
    """A text with its blocks inside. A numbered item has no number: it is one more than the sibling before it."""

    kind: ProseKind
    text: RichText = ()
    children: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class ToDo:
    """A text with a box to tick."""

    text: RichText
    _: KW_ONLY
    checked: bool
    children: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Callout:
    """A text in a coloured box with an icon, which is one emoji."""

    text: RichText
    _: KW_ONLY
    icon: str
    color: str
    children: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    """Code, shown as written; the language is one of those that Notion knows."""

    content: str
    language: str
    caption: RichText = ()


@dataclass(frozen=True, slots=True)
class Equation:
    """A KaTeX expression on a line of its own."""

    expression: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, all rows equally long and at least one of them; the first row is the header."""

    rows: tuple[tuple[RichText, ...], ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that Notion loads from where it is."""

    url: str
    caption: RichText = ()


@dataclass(frozen=True, slots=True)
class Divider:
    """A line across the page."""


Block = Prose | ToDo | Callout | Code | Equation | Table | Image | Divider


@dataclass(frozen=True, slots=True)
class Document:
    """What a page shows, and one sentence for each sort of thing that could only be shown differently."""

    blocks: tuple[Block, ...]
    degraded: tuple[str, ...] = ()


def utf16_units(text: str) -> int:
    """The length of a text as Notion counts it: characters outside the basic plane count twice."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
