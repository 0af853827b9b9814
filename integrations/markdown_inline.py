"""The text of one block: from Markdown's inline tokens, or from HTML, to runs with looks and links, and images."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from domain.document import EQUATION_UNITS, Image, InlineEquation, Mark, Run, Text, utf16_units
from integrations import markdown_html as html
from integrations.markdown_links import is_image_address, is_web_address, shown_address
from integrations.markdown_losses import Loss, Losses
from integrations.markdown_parser import SIGNS
from integrations.markdown_syntax import Reading, Token, normalised_address, trimmed_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from domain.document import RichText

_Look = tuple[frozenset[Mark], str | None]
"""Marks and link: what makes two characters belong to one run."""

_PLAIN: Final[_Look] = (frozenset(), None)


@functools.cache
def _shared(marks: frozenset[Mark]) -> frozenset[Mark]:
    """The one set for these marks: of a hundred thousand runs each would have its own."""
    return marks


Piece = tuple[Run, ...] | Image
"""Part of a block's text: runs, or an image that stands between them."""

_TOKEN_MARKS: Final = {"strong": Mark.BOLD, "em": Mark.ITALIC, "s": Mark.STRIKETHROUGH}
_WWW: Final = re.compile(r"(?<![A-Za-z0-9./@-])www\.[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:[/?#][^\s<>\"`]*)?")


_BLANKS: Final = re.compile(r"[ \t]*")
_SPAN: Final = re.compile(
    r"""(\*\*?) (?=[^\W_])                                 # opens only, since a blank or a bracket is before it
        ((?: [^\n$*\[\]\\`~_&<:!] | :(?!//) | !(?!\[) )++)
        (?: (?<=[^\W_]) \1 (?=[ \t\n.,;:!?)]|\Z) | (?<=[:.!?)]) \1 (?=[ \t\n]|\Z) )  # closes only
    |   ` ([^`\s] (?: [^`\n]* [^`\s] )?) ` (?!`)""",
    re.VERBOSE,
)
_SPAN_MARKS: Final = {
    "**": _shared(frozenset({Mark.BOLD})),
    "*": _shared(frozenset({Mark.ITALIC})),
    "`": _shared(frozenset({Mark.CODE})),
}
_AROUND_BREAK: Final = re.compile(r"[ \t]*\n[ \t]*")

_DEEPEST_SCRIPT: Final = 4
"""Superscripts within superscripts; deeper tags are ignored, so that many of them stay linear."""


@dataclass(slots=True)
class _Link:
    """A link that is still open: where its text starts, and what is added behind it."""

    start: int
    shown: str
    title: str


class Line:
    """Collects the text of one block, piece by piece; the tags and marks in it open and close as they come."""

    def __init__(self, reading: Reading, losses: Losses, *, image_hosts: frozenset[str]) -> None:
        self._reading = reading
        self._losses = losses
        self._image_hosts = image_hosts
        self._done: list[Run | Image] = []
        self._buffer: list[str] = []  # of characters that look alike
        self._buffer_look: _Look = _PLAIN
        self._look: _Look = _PLAIN
        self._open_marks: dict[Mark, int] = {}
        self._link: _Link | None = None
        self._scripts: list[tuple[str, int]] = []

    # --- what is added

    def tokens(self, tokens: Iterable[Token]) -> None:
        """Adds Markdown's inline tokens."""
        for token in tokens:
            match token.type:
                case "text" | "text_special":
                    self.text(token.content)
                case "softbreak":
                    self._soft_break()
                case "hardbreak":
                    self.line_break()
                case "code_inline":
                    self._marked(token.content, Mark.CODE)
                case "strong_open" | "em_open" | "s_open":
                    self._open_mark(_TOKEN_MARKS[token.tag])
                case "strong_close" | "em_close" | "s_close":
                    self._close_mark(_TOKEN_MARKS[token.tag])
                case "link_open":
                    self._open_link(str(token.attrs["href"]), str(token.attrs.get("title", "")))
                case "link_close":
                    self._close_link()
                case "image":
                    description = _plain(token.children or ())
                    self._image(str(token.attrs["src"]), description, str(token.attrs.get("title", "")))
                case "math_inline":
                    self._equation(token.content, written=token.markup)
                case "footnote_ref":
                    self._losses[Loss.FOOTNOTE] = None
                    self._add(f"[{self._reading.footnote_number(token.meta['label'])}]")
                case "html_inline":
                    for piece in html.pieces(token.content):
                        self.text(piece) if isinstance(piece, str) else self.tag(piece)
                case other:  # a rule was added to the parser and forgotten here
                    raise AssertionError(other)

    def text(self, content: str) -> None:
        """Adds text as it is, with links for the addresses in it that begin with www."""
        if "www." in content and self._link is None:
            end = 0
            for match in _WWW.finditer(content):
                address = trimmed_address(match[0])
                link = normalised_address("http://" + address)
                self._add(content[end : match.start()])
                self._add(address, link=link if is_web_address(link) else None)
                end = match.start() + len(address)
            content = content[end:]
        self._add(content)

    def line_break(self) -> None:
        """Adds a line break."""
        self._add("\n")

    def tag(self, tag: html.Tag) -> None:
        """Adds what an HTML tag inside a line means, or the tag itself if it means nothing here."""
        name = tag.name
        if mark := html.MARKS.get(name):
            self._close_mark(mark) if tag.closing else self._open_mark(mark)
        elif name in html.SCRIPTS:
            self._close_script(name) if tag.closing else self._open_script(name)
        elif name == "br":
            self.line_break()
        elif name == "a":
            if tag.closing:
                self._close_link()
            else:
                self._open_link(normalised_address(tag.attribute("href") or "#"), tag.attribute("title") or "")
        elif name == "img":
            address = normalised_address(tag.attribute("src") or "")
            self._image(address, tag.attribute("alt") or "", tag.attribute("title") or "")
        elif name == "input" and tag.attribute("type") == "checkbox":
            self._add("☐ " if tag.attribute("checked") is None else "☑ ")
        elif name in html.MEDIA:
            self._media(tag)
        elif name in html.BLOCKS:
            if not (self._buffer and self._buffer[-1].endswith("\n")):
                self.line_break()
        elif name not in html.INVISIBLE:
            self._losses[Loss.HTML_TAG] = None
            self._add(tag.source)
        if name in html.LAYOUT:
            self._losses[Loss.HTML_STYLE] = None

    def finish(self) -> list[Piece]:
        """All that was added, in order and without blanks at the ends; an open link ends here."""
        self._close_link()
        return self.drain()

    def drain(self) -> list[Piece]:
        """All that was added so far; what follows is another paragraph, with the same looks and link."""
        self._flush()
        pieces: list[Piece] = []
        runs: list[Run] = []
        for run in [*self._done, None]:
            if run is not None and not isinstance(run, Image):
                runs.append(run)
                continue
            if kept := trimmed(runs):
                pieces.append(kept)
            runs = []
            if run is not None:
                pieces.append(run)
        self._done = []
        self._scripts = []
        if self._link is not None:
            self._link.start = 0
        return pieces

    # --- looks

    def _add(self, content: str, *, link: str | None = None) -> None:
        look = self._look if link is None else (self._look[0], link)
        if self._buffer and look != self._buffer_look:
            self._flush()
        self._buffer_look = look
        self._buffer.append(content)

    def _flush(self) -> None:
        """Makes a run of what was added. Marks that enclose nothing make none, so like neighbours stay one run."""
        content = "".join(self._buffer)
        self._buffer.clear()
        if content:
            self._done.append(Text(content, *self._buffer_look))

    def _marked(self, content: str, mark: Mark) -> None:
        self._open_mark(mark)
        self._add(content)
        self._close_mark(mark)

    def _open_mark(self, mark: Mark) -> None:
        opened = self._open_marks[mark] = self._open_marks.get(mark, 0) + 1
        if opened == 1:
            self._look = (_shared(self._look[0] | {mark}), self._look[1])

    def _close_mark(self, mark: Mark) -> None:
        if opened := self._open_marks.get(mark, 0):
            self._open_marks[mark] = opened - 1
            if opened == 1:
                self._look = (_shared(self._look[0] - {mark}), self._look[1])

    def _soft_break(self) -> None:
        if not (self._buffer and self._buffer[-1].endswith("\n")):
            self._add(" ")

    # --- links and images

    def _open_link(self, address: str, title: str) -> None:
        self._close_link()  # as in HTML, links do not nest
        self._flush()
        usable = is_web_address(address)
        if not usable and address:
            self._losses[Loss.LINK] = None
        self._link = _Link(len(self._done), "" if usable else shown_address(address), title)
        self._look = (self._look[0], address if usable else None)

    def _close_link(self) -> None:
        if self._link is None:
            return
        self._flush()
        link, self._link = self._link, None
        self._look = (self._look[0], None)
        said = "".join(run.content for run in self._done[link.start :] if isinstance(run, Text))
        if link.title and link.title not in said:
            self._losses[Loss.LINK_TITLE] = None
        for behind in (link.shown, link.title):
            if behind and behind not in said:
                self._add(f" ({behind})")

    def _image(self, address: str, description: str, title: str) -> None:
        """An image: a block of its own if it may be loaded, else a link to it."""
        if title and title not in description:
            self._losses[Loss.LINK_TITLE] = None
            description = f"{description} ({title})" if description else title
        if is_image_address(address, hosts=self._image_hosts):
            self._flush()
            self._done.append(Image(address, (Text(description, *self._look),) if description else ()))
        elif not is_web_address(address):
            self._losses[Loss.IMAGE_DATA if address[:5].lower() == "data:" else Loss.IMAGE_HOST] = None
            shown = shown_address(address)
            self._add(" ".join(filter(None, (description, shown and f"({shown})"))) or "(image)")
        elif self._look[1] is None:
            self._losses[Loss.IMAGE_HOST] = None
            self._add(description or address, link=address)
        else:  # both the image and where it led can be followed
            self._losses[Loss.IMAGE_HOST] = None
            self._add((description or "image") + " (")
            self._add("image", link=address)
            self._add(")")

    def _media(self, tag: html.Tag) -> None:
        address = normalised_address(tag.attribute("src") or "")
        if address and not tag.closing:
            self._losses[Loss.HTML_MEDIA] = None
            shown = tag.attribute("title") or address
            if is_web_address(address):
                self._add(shown, link=address)
            else:
                self._add(shown if shown == address else f"{shown} ({address})")

    # --- equations, superscripts and subscripts

    def _equation(self, expression: str, *, written: str) -> None:
        if self._link is not None:
            self._losses[Loss.LINKED_EQUATION] = None
            self._add(written)
        elif utf16_units(expression) > EQUATION_UNITS:
            self._losses[Loss.LONG_EQUATION] = None
            self._marked(written, Mark.CODE)
        else:
            self._flush()
            self._done.append(InlineEquation(expression, self._look[0]))

    def _open_script(self, name: str) -> None:
        self._flush()
        if len(self._scripts) < _DEEPEST_SCRIPT:
            self._scripts.append((name, len(self._done)))

    def _close_script(self, name: str) -> None:
        if not self._scripts or self._scripts[-1][0] != name:
            return
        self._flush()
        _, start = self._scripts.pop()
        sign, characters = html.SCRIPTS[name]
        runs = self._done[start:]
        convertible = "".join(map(chr, characters))
        texts = [run for run in runs if isinstance(run, Text)]
        if len(texts) == len(runs) and all(set(run.content) <= set(convertible) for run in texts):
            self._done[start:] = [Text(run.content.translate(characters), run.marks, run.link) for run in texts]
        elif runs:
            self._losses[Loss.SCRIPT] = None
            self._done[start:] = [Text(f"{sign}(", *self._look), *runs]
            self._add(")")


def simple_text(content: str) -> RichText | None:
    """The text of a block as most are: plain, with words in bold, in italics and in code that nobody could misread.

    None if there is more to it: then it is for the rules to say. Reading it by the rules would give the same.
    """
    if "www." in content:
        return None
    runs: list[Run] = []
    plain: list[str] = []  # since the last of the runs
    position = 0
    while sign := SIGNS.search(content, position):
        start = sign.start()
        if sign[0] == "\n":
            line = content[position:start].rstrip(" ")
            plain += (line, "\n" if start - position - len(line) > 1 else " ")
            position = _BLANKS.match(content, sign.end()).end()  # type: ignore[union-attr]  # it matches none as well
            continue
        span = _SPAN.match(content, start) if start == 0 or content[start - 1] in " \t\n(" else None
        if span is None:
            return None
        plain.append(content[position:start])
        if before := "".join(plain):
            runs.append(Text(before))
        plain.clear()
        runs.append(Text(span[2] or span[3], _SPAN_MARKS[span[1] or "`"]))
        position = span.end()
    plain.append(content[position:])
    if runs or len(plain) > 1:
        if after := "".join(plain):
            runs.append(Text(after))
        return trimmed(runs)
    content = content.strip()
    return (Text(content),) if content else ()


def _plain(tokens: Iterable[Token]) -> str:
    """The text of an image's description, whose marks and links show nowhere."""
    parts = []
    for token in tokens:
        match token.type:
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "image":
                parts.append(_plain(token.children or ()))
            case "footnote_ref":
                parts.append(f"[^{token.meta['label']}]")
            case "math_inline":
                parts.append(token.markup)
            case _:
                parts.append(token.content)
    return "".join(parts).strip()


def trimmed(runs: Sequence[Run]) -> RichText:
    """Runs with like neighbours joined, no blanks at the ends of lines, and none that is empty."""
    kept = [run for run in joined(runs) if not isinstance(run, Text) or run.content]
    first = next((index for index, run in enumerate(kept) if not _is_blank(run)), None)
    if first is None:
        return ()
    last = next(index for index in reversed(range(len(kept))) if not _is_blank(kept[index]))
    kept = kept[first : last + 1]
    kept[0] = _changed(kept[0], str.lstrip)
    kept[-1] = _changed(kept[-1], str.rstrip)
    if any(isinstance(run, Text) and "\n" in run.content for run in kept):
        return _without_blanks_at_line_ends(kept)
    return tuple(kept)


def _without_blanks_at_line_ends(runs: list[Run]) -> RichText:
    """As HTML shows them: blanks before and after a line break are nothing, even in the neighbouring run."""
    kept: list[Run] = []
    for run in runs:
        stripped = _changed(run, lambda content: _AROUND_BREAK.sub("\n", content))
        if isinstance(stripped, Text) and stripped.content.startswith("\n"):
            while kept:
                before = _changed(kept.pop(), lambda content: content.rstrip(" \t"))
                if not isinstance(before, Text) or before.content:
                    kept.append(before)
                    break
        if kept and isinstance(last := kept[-1], Text) and last.content.endswith("\n"):
            stripped = _changed(stripped, lambda content: content.lstrip(" \t"))
        if not isinstance(stripped, Text) or stripped.content:
            kept.append(stripped)
    return tuple(joined(kept))


def joined(runs: Sequence[Run]) -> list[Run]:
    """The runs, those that look alike and stand next to each other made into one."""
    if not any(map(_are_alike, runs, runs[1:])):
        return list(runs)
    made: list[Run] = []
    for look, alike in groupby(runs, key=lambda run: (run.marks, run.link) if isinstance(run, Text) else None):
        if look is None:
            made.extend(alike)
        else:
            made.append(Text("".join(run.content for run in alike if isinstance(run, Text)), *look))
    return made


def _are_alike(one: Run, other: Run) -> bool:
    return isinstance(one, Text) and isinstance(other, Text) and (one.marks, one.link) == (other.marks, other.link)


def _is_blank(run: Run) -> bool:
    return isinstance(run, Text) and (not run.content or run.content.isspace())


def _changed(run: Run, change: Callable[[str], str]) -> Run:
    """The run with other content, unless it is code or an equation, where every character counts."""
    if not isinstance(run, Text) or Mark.CODE in run.marks:
        return run
    content = change(run.content)
    return run if content == run.content else Text(content, run.marks, run.link)
