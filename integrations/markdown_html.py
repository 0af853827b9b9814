"""HTML inside Markdown, taken apart into tags and text; what each tag means to a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Final

from domain.document import Mark

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKS: Final = {
    "b": Mark.BOLD,
    "strong": Mark.BOLD,
    "i": Mark.ITALIC,
    "em": Mark.ITALIC,
    "cite": Mark.ITALIC,
    "dfn": Mark.ITALIC,
    "var": Mark.ITALIC,
    "s": Mark.STRIKETHROUGH,
    "del": Mark.STRIKETHROUGH,
    "strike": Mark.STRIKETHROUGH,
    "u": Mark.UNDERLINE,
    "ins": Mark.UNDERLINE,
    "code": Mark.CODE,
    "kbd": Mark.CODE,
    "samp": Mark.CODE,
    "tt": Mark.CODE,
    "mark": Mark.HIGHLIGHT,
}
"""Tags that give their text a look."""

SCRIPTS: Final = {
    "sup": (
        "^",
        str.maketrans(
            "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW−",
            "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ⁻",
        ),
    ),
    "sub": ("_", str.maketrans("0123456789+-=()aehijklmnoprstuvx−", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₋")),
}
"""Tags that raise or lower their text: the visible fallback, and the characters that Unicode has for it."""


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


HEADINGS: Final = _names("h1 h2 h3 h4 h5 h6")
MEDIA: Final = _names("audio embed iframe video source")
BLOCKS: Final = _names(
    """address article aside body caption center dd details dialog dir div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 head header hr html legend li main menu nav ol p pre search section summary table tbody td tfoot
    th thead title tr ul blockquote"""
)
"""Tags that start and end a paragraph."""

INVISIBLE: Final = _names(
    """abbr base bdi bdo big col colgroup data font label link meta nobr noscript param picture rp rt ruby small span
    template time track wbr"""
)
"""Tags inside a line that show nothing themselves."""

LAYOUT: Final = _names("center font big small")
"""Tags whose whole meaning is a layout that a page does not have."""

_LINE: Final = _names("a br img input")
_RAW: Final = _names("script style")
_TAG: Final = re.compile(
    r"""<(/?)([A-Za-z][A-Za-z0-9-]*+)
        ((?:\s++[A-Za-z_:@][\w:.@-]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'=<>`]++))?+)*+)
        \s*+/?>""",
    re.VERBOSE | re.ASCII,
)
_ATTRIBUTE: Final = re.compile(
    r"""\s([A-Za-z_:@][\w:.@-]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|(\S++)))?+""", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag; of a script or style sheet, which is nothing to read, the whole element."""

    name: str
    source: str
    closing: bool = False
    attributes: str = ""

    def attribute(self, name: str) -> str | None:
        """The value of an attribute, empty if it has none; None if there is no such attribute."""
        for match in _ATTRIBUTE.finditer(self.attributes):
            if match[1].lower() == name:
                return unescape(match[2] or match[3] or match[4] or "")
        return None

    @property
    def is_raw(self) -> bool:
        """Whether this is a whole script or style sheet."""
        return self.name in _RAW and not self.closing


def is_known(name: str) -> bool:
    """Whether a tag of this name means something here, if only that it shows nothing."""
    return any(name in names for names in (MARKS, BLOCKS, INVISIBLE, SCRIPTS, MEDIA, _LINE, _RAW))


def pieces(html: str) -> Iterator[Tag | str]:
    """The tags and the text between them. Comments vanish; whatever is no tag is text."""
    position = start = 0
    no_end: set[str] = set()
    while (position := html.find("<", position)) >= 0:
        end, piece = _markup(html, position, no_end)
        if end == position:
            position += 1
            continue
        if position > start:
            yield unescape(html[start:position])
        if piece is not None:
            yield piece
        position = start = end
    if start < len(html):
        yield unescape(html[start:])


def _markup(html: str, start: int, no_end: set[str]) -> tuple[int, Tag | str | None]:
    """What starts with the `<` at `start`, and where it ends: at `start` if it is only a character.

    `no_end` remembers which ends were looked for in vain, so that many openings without an end stay linear.
    """
    for opening, ending in (("<!--", "-->"), ("<![CDATA[", "]]>")):
        if html.startswith(opening, start):
            end = -1 if ending in no_end else html.find(ending, start + 2)
            if end < 0:
                no_end.add(ending)
                return start, None
            content = html[start + len(opening) : end]
            return end + len(ending), None if opening == "<!--" else content
    match = _TAG.match(html, start)
    if match is None:
        return start, None
    tag = Tag(match[2].lower(), match[0], bool(match[1]), match[3])
    if tag.is_raw:
        closing = re.compile(rf"</{tag.name}\s*>", re.IGNORECASE).search(html, match.end())
        end = closing.end() if closing else len(html)
        return end, Tag(tag.name, html[start:end])
    return match.end(), tag
