"""A document as lines that can be read and compared: one per block, indented like the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.document import (
    Block,
    Callout,
    Code,
    Divider,
    Equation,
    Image,
    InlineEquation,
    Prose,
    RichText,
    Run,
    Table,
    ToDo,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def outline(blocks: Iterable[Block]) -> str:
    """All blocks with their texts: `{bold word}`, `{link https://… word}`, `{math x^2}`; ⏎ is a line break."""
    return "\n".join(_lines(blocks, ""))


def _lines(blocks: Iterable[Block], indent: str) -> Iterator[str]:
    for block in blocks:
        match block:
            case Prose(kind, text, children):
                yield f"{indent}{kind}: {_text(text)}".rstrip()
                yield from _lines(children, indent + "  ")
            case ToDo(text, checked=checked, children=children):
                yield f"{indent}{'done' if checked else 'to_do'}: {_text(text)}".rstrip()
                yield from _lines(children, indent + "  ")
            case Callout(text, icon=icon, color=color, children=children):
                yield f"{indent}callout {icon} {color}: {_text(text)}"
                yield from _lines(children, indent + "  ")
            case Code(content, language, caption):
                yield (
                    f"{indent}code {language}: "
                    + content.replace("\n", "⏎")
                    + (f" // {_text(caption)}" if caption else "")
                )
            case Equation(expression):
                yield f"{indent}equation: " + expression.replace("\n", "⏎")
            case Table(rows):
                yield f"{indent}table:"
                yield from (f"{indent}  | " + " | ".join(map(_text, row)) + " |" for row in rows)
            case Image(url, caption):
                yield f"{indent}image {url}: {_text(caption)}".rstrip()
            case Divider():
                yield f"{indent}divider"


def _text(text: RichText) -> str:
    return "".join(map(_run, text)).replace("\n", "⏎")


def _run(run: Run) -> str:
    if isinstance(run, InlineEquation):
        looks, content = ["math"], run.expression
    else:
        looks, content = [], run.content
        if run.link:
            looks.append(f"link {run.link}")
    looks = sorted(mark.value for mark in run.marks) + looks
    return f"{{{' '.join(looks)} {content}}}" if looks else content
