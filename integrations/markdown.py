"""Markdown as language models write it, turned into a document without losing anything that a reader could see.

What has no form of its own on a Notion page takes the nearest visible one, and `Document.degraded` says so. The text
is not trusted: images are loaded from allowed hosts only, and only web addresses become links.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from domain.document import EQUATION_UNITS, Code, Divider, Document, Equation, Text, utf16_units
from integrations import markdown_html as html
from integrations.markdown_block_rules import MOST_BLOCKS
from integrations.markdown_inline import Line, simple_text
from integrations.markdown_languages import PLAIN, notion_language
from integrations.markdown_losses import Loss, Losses
from integrations.markdown_syntax import LONGEST_TEXT, Reading, unescaped
from integrations.markdown_tree import Role, Tree

if TYPE_CHECKING:
    from integrations.markdown_inline import Piece
    from integrations.markdown_syntax import Token

_FRONT_MATTER_END: Final = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
_YAML_LINE: Final = re.compile(r"[A-Za-z_][\w.-]*[ \t]*:(?:[ \t]|$)|#|-[ \t]|[ \t]|$")
_LANGUAGE_NAME: Final = re.compile(r"[\s{.]*([^\s{}:,=]*)")
_BLANKS: Final = re.compile(r"[ \t\r\n\f]+")
_BLANKS_IN_LINE: Final = re.compile(r"[ \t\r\f]+")
CALLOUTS: Final = {
    "NOTE": ("ℹ️", "blue_background"),
    "TIP": ("💡", "green_background"),
    "IMPORTANT": ("❗", "purple_background"),
    "WARNING": ("⚠️", "yellow_background"),
    "CAUTION": ("🛑", "red_background"),
}
_HTML_ROLES: Final = {
    "blockquote": Role.QUOTE,
    "details": Role.TOGGLE,
    "summary": Role.SUMMARY,
    "table": Role.TABLE,
    "tr": Role.ROW,
    "td": Role.CELL,
    "th": Role.CELL,
    "ul": Role.LIST,
    "ol": Role.LIST,
    "li": Role.ITEM,
}
_CLOSED_BY_THE_NEXT: Final = {Role.ITEM: Role.LIST, Role.CELL: Role.TABLE, Role.ROW: Role.TABLE}
"""Blocks whose end tag HTML lets one leave out, and the block within which the next one ends them."""


def parse(markdown: str, *, image_hosts: frozenset[str] = frozenset()) -> Document:
    """The document that a Markdown text describes: CommonMark, GitHub's extensions, mathematics, front matter, HTML.

    `image_hosts` are the hosts, in lower case, from which images may be loaded, `*.example.org` being all below
    example.org; all other images become links. Pure and about linear in time, but a megabyte takes the better part of
    a second: call it in a thread.
    """
    return _Parser(image_hosts).document(markdown)


class _Parser:
    """One run of `parse`: walks over the tokens and tells the tree what opens, closes and stands there."""

    def __init__(self, image_hosts: frozenset[str]) -> None:
        self._image_hosts = image_hosts
        self._losses: Losses = {}
        self._tree = Tree(self._losses)
        self._heading_level = 0
        self._footnotes: dict[str, deque[Token]] = {}
        self._namesakes = 0
        self._html_parts = 0
        self._kept_footnotes: deque[tuple[str, deque[Token]]] = deque()  # in the order of the text

    def document(self, markdown: str) -> Document:
        front_matter, text = _split_front_matter(self._valid(markdown))
        if front_matter is not None:
            self._tree.add(Code(front_matter, "yaml"))
        self._reading = Reading(text)
        self._walk(self._reading.tokens)
        self._tree.close_all()
        self._add_footnotes()
        return Document(self._tree.finish(), tuple(self._losses))

    def _valid(self, markdown: str) -> str:
        """The text without lone surrogates, which no request can carry, nor NUL, and with plain line ends."""
        try:
            markdown.encode()
        except UnicodeEncodeError:
            markdown = markdown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            self._losses[Loss.LONE_SURROGATE] = None
        return markdown.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")

    # --- Markdown's blocks

    def _walk(self, tokens: deque[Token]) -> None:
        """Goes through the tokens, which are let go one after the other: there may be a hundred thousand."""
        while tokens:
            token = tokens.popleft()
            if token.type == "footnote_reference_open":
                self._keep_footnote(token.meta["label"], tokens)
            elif token.type == "alert_title_open":
                tokens.popleft()  # the title's text: the callout has its own
            else:
                self._block(token)

    def _block(self, token: Token) -> None:
        tree = self._tree
        match token.type:
            case "paragraph":
                tree.paragraph(self._pieces(token.content))
            case "item":
                tree.item(self._pieces(token.content), checked=token.meta.get("checked"))
            case "heading":
                tree.heading(int(token.tag[1]), self._pieces(token.content))
            case "alert_title_close":
                pass
            case "list_open":
                tree.open_list(start=token.meta["start"], delimiter=token.markup)
            case "list_close":
                tree.close(Role.LIST)
            case "list_item_open":
                tree.open_item(checked=token.meta.get("checked"))
            case "list_item_close":
                tree.close(Role.ITEM)
            case "blockquote_open":
                tree.open(Role.QUOTE)
            case "blockquote_close":
                tree.close(Role.QUOTE)
            case "alert_open":
                icon, color = CALLOUTS[token.info]
                tree.open_callout(title=token.info.capitalize(), icon=icon, color=color)
            case "alert_close":
                tree.close(Role.CALLOUT)
            case "table":
                self._table(token)
            case "fence":
                self._code(token.content.removesuffix("\n"), info=unescaped(token.info).strip())
            case "code_block":
                tree.add(Code(token.content.removesuffix("\n"), PLAIN))
            case "too_deep" | "too_many":
                self._losses[Loss.TOO_DEEP if token.type == "too_deep" else Loss.TOO_MANY] = None
                tree.add(Code(token.content, PLAIN))
            case "math_block":
                self._equation(token.content)
            case "hr":
                tree.add(Divider())
            case "html_block":
                self._html(token.content)
            case other:  # a rule was added to the parser and forgotten here
                raise AssertionError(other)

    def _pieces(self, content: str) -> list[Piece]:
        if (text := simple_text(content)) is not None:
            return [text] if text else []
        if len(content) > LONGEST_TEXT:
            self._losses[Loss.LONG_TEXT] = None
        line = Line(self._reading, self._losses, image_hosts=self._image_hosts)
        line.tokens(self._reading.inline(content))
        if self._reading.leaves_marks:
            self._losses[Loss.MANY_MARKS] = None
        return line.finish()

    def _table(self, token: Token) -> None:
        if token.meta["aligned"]:
            self._losses[Loss.TABLE_ALIGNMENT] = None
        self._tree.table([[self._tree.line(self._pieces(cell)) for cell in row] for row in token.meta["rows"]])

    def _code(self, content: str, *, info: str) -> None:
        name = _LANGUAGE_NAME.match(info)
        language = notion_language(name[1]) if name else None
        if language is None and info:
            self._losses[Loss.LANGUAGE] = None
        caption = " ".join((info[name.end() :].strip(" {}") if name and language else info).split())
        self._tree.add(Code(content, language or PLAIN, (Text(caption),) if caption else ()))

    def _equation(self, expression: str) -> None:
        if utf16_units(expression) <= EQUATION_UNITS:
            self._tree.add(Equation(expression))
        else:
            self._losses[Loss.LONG_EQUATION] = None
            self._tree.add(Code(expression, "latex"))

    # --- footnotes

    def _keep_footnote(self, label: str, tokens: deque[Token]) -> None:
        """Puts the tokens of a footnote aside."""
        body: deque[Token] = deque()
        depth = 1
        while depth:
            body.append(tokens.popleft())
            depth += {"footnote_reference_open": 1, "footnote_reference_close": -1}.get(body[-1].type, 0)
        body.pop()
        if label in self._footnotes:  # the first one counts; a label with a blank is never mentioned
            self._namesakes += 1
            label = f"{label} {self._namesakes}"
        self._footnotes[label] = body
        self._kept_footnotes.append((label, body))

    def _add_footnotes(self) -> None:
        """Adds the footnotes in the order in which they are mentioned, and then those that never are."""
        if self._footnotes:
            self._losses[Loss.FOOTNOTE] = None
            self._tree.add(Divider())
        position = 0
        while self._footnotes:
            mentioned = self._reading.footnotes  # grows: a footnote may mention others, and even define them
            label = mentioned[position] if position < len(mentioned) else self._next_footnote()
            position += 1
            if (body := self._footnotes.pop(label, None)) is not None:
                self._tree.open_list(start=self._reading.footnote_number(label))
                self._tree.open_item()
                self._walk(body)
                self._tree.close(Role.ITEM)
                self._tree.close(Role.LIST)

    def _next_footnote(self) -> str:
        """The first one that is still to be added. Not the mapping's own first: finding that takes ever longer."""
        while True:
            label, body = self._kept_footnotes.popleft()
            if self._footnotes.get(label) is body:
                return label

    # --- HTML

    def _html(self, content: str) -> None:
        parts = list(html.pieces(content))
        self._html_parts += len(parts)
        if self._html_parts > MOST_BLOCKS:
            self._losses[Loss.TOO_MANY] = None
            self._tree.add(Code(content.removesuffix("\n"), "html"))
            return
        # Between tags that mean nothing, such as those of XML, lines are more likely meant as lines.
        blanks = (
            _BLANKS if all(isinstance(part, str) or html.is_known(part.name) for part in parts) else _BLANKS_IN_LINE
        )
        line = Line(self._reading, self._losses, image_hosts=self._image_hosts)
        preformatted: list[str | html.Tag] | None = None
        self._heading_level = 0
        for part in parts:
            if preformatted is not None:
                preformatted.append(part)
                if isinstance(part, html.Tag) and part.closing and part.name == "pre":
                    self._preformatted(preformatted)
                    preformatted = None
            elif isinstance(part, str):
                line.text(blanks.sub(" ", part))
            elif part.name not in html.BLOCKS and not part.is_raw:
                line.tag(part)
            else:
                self._html_text(line.drain())
                if part.name == "pre" and not part.closing:
                    preformatted = [part]
                else:
                    self._html_block(part)
        self._html_text(line.finish())
        self._heading_level = 0
        if preformatted is not None:
            self._preformatted(preformatted)

    def _html_text(self, pieces: list[Piece]) -> None:
        if self._heading_level:
            self._tree.heading(self._heading_level, pieces)
        else:
            self._tree.paragraph(pieces)

    def _html_block(self, tag: html.Tag) -> None:
        """What a tag means that stands between paragraphs."""
        if tag.is_raw:
            self._losses[Loss.HTML_TAG] = None
            self._tree.add(Code(tag.source, "html"))
        elif tag.name == "hr":
            self._tree.add(Divider())
        elif tag.name in html.HEADINGS:
            self._heading_level = 0 if tag.closing else int(tag.name[1])
        elif role := _HTML_ROLES.get(tag.name):
            around = _CLOSED_BY_THE_NEXT.get(role)
            if tag.closing or around is not None:
                self._tree.close_html(role, within=around)
            if not tag.closing:
                self._open_html(role, tag)
        elif tag.name in html.LAYOUT or tag.attribute("align"):
            self._losses[Loss.HTML_STYLE] = None

    def _open_html(self, role: Role, tag: html.Tag) -> None:
        if role is Role.LIST:
            start = tag.attribute("start") or "1"
            number = int(start) if re.fullmatch("[0-9]{1,9}", start) else 1
            self._tree.open_list(start=number if tag.name == "ol" else None, by_html=True)
        elif role is Role.ITEM:
            self._tree.open_item(by_html=True)
        else:
            self._tree.open_html(role)

    def _preformatted(self, parts: list[str | html.Tag]) -> None:
        """Adds the code between `<pre>` and its end; a tag in it is text, unless it only gives the text a look."""
        tags = [part for part in parts if isinstance(part, html.Tag)]
        classes = next((tag.attribute("class") for tag in tags if tag.attribute("class")), None) or ""
        language = re.search(r"(?:language|lang|brush)-([\w+#.-]+)", classes)
        content = "".join(
            part
            if isinstance(part, str)
            else "\n"
            if part.name == "br"
            else ""
            if html.is_known(part.name)
            else part.source
            for part in parts
        )
        self._code(content.strip("\n"), info=language[1] if language else "")


def _split_front_matter(markdown: str) -> tuple[str | None, str]:
    """The YAML between `---` lines at the very start, if that is what stands there, and the rest."""
    start = re.match(r"---[ \t]*\n", markdown)
    end = _FRONT_MATTER_END.search(markdown, start.end()) if start else None
    if start is None or end is None:
        return None, markdown
    content = markdown[start.end() : end.start()].rstrip()
    lines = content.split("\n")
    if not re.match("[A-Za-z_#]", content) or not all(_YAML_LINE.match(line) for line in lines):
        return None, markdown
    return content, markdown[end.end() :]
