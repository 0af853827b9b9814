"""What a block says has one hash, whether it is asked for or answered; and the base of a page is made of them."""

from __future__ import annotations

from collections.abc import Iterable

from domain.document import Document, Image, Text
from domain.notion_base import SyncedBlock, block_ids
from integrations.markdown import parse
from integrations.notion_blocks import NotionBlock, to_notion
from integrations.notion_hashes import said_hash, said_words, shown_hash, shown_words
from tests.standins.notion import NotionStandin
from tests.standins.notion_errors import JSON

_EVERYTHING = """# A *title* with `code`

Plain, **bold _both_**, ~~gone~~, <u>under</u>, [a link](https://example.com/x?y=1), $x^2$ and 😀.
Second line.

- [ ] open
- [x] done

1. one
   - two
     - three
2. four

> quoted
>
> > [!WARNING]
> > mind

```py
print("hi")
```

| a | b |
| - | - |
| 1 | **2** |

$$
e = mc^2
$$

---
"""


def _pairs(said: Iterable[NotionBlock], shown: Iterable[JSON]) -> Iterable[tuple[NotionBlock, JSON]]:
    for one, other in zip(said, shown, strict=True):
        yield one, other
        yield from _pairs(one.children, other[other["type"]].get("children", ()))


def test_what_is_said_and_what_is_shown_have_one_hash() -> None:
    notion = NotionStandin()
    page = notion.add_page()
    picture = Image("https://example.com/cat.png", (Text("a cat"),))
    said = to_notion(Document((*parse(_EVERYTHING).blocks, picture)))
    notion.memory.add_blocks(page, [block.request for block in said], by=page.workspace.bot_id)
    pairs = list(_pairs(said, notion.children_tree(page.id)))
    assert {one.kind for one, _ in pairs} >= {"heading_1", "to_do", "callout", "code", "table_row", "equation", "image"}
    for one, other in pairs:
        assert said_hash(one) == shown_hash(other), one
        assert said_words(one) == shown_words(other)
    assert len({said_hash(one) for one, _ in pairs}) == len(pairs)


def test_every_difference_that_can_be_seen_changes_the_hash() -> None:
    texts = (
        *("word", "*word*", "**word**", "`word`", "[word](https://example.com/)", "# word", "- word", "- [ ] word"),
        *(
            "- [x] word",
            "> word",
            "```\nword\n```",
            "```py\nword\n```",
            "$$\nword\n$$",
            "word\\\nword",
            "1. word",
            "Word",
        ),
    )
    blocks = [to_notion(parse(text))[0] for text in texts]
    assert len({said_hash(block) for block in blocks}) == len(texts)


def test_pieces_of_one_look_are_one_piece() -> None:
    def paragraph(*words: str) -> JSON:
        items = [{"type": "text", "text": {"content": each}, "plain_text": each} for each in words]
        return {"type": "paragraph", "paragraph": {"rich_text": items, "color": "default"}}

    assert shown_hash(paragraph("one ", "two")) == shown_hash(paragraph("one two"))
    assert shown_hash(paragraph("one ", "two")) != shown_hash(paragraph("one two "))


def test_knows_all_ids() -> None:
    inner = SyncedBlock("b", "1", "1", (SyncedBlock("c", "2", "2"),))
    assert block_ids([SyncedBlock("a", "0", "0", (inner,)), SyncedBlock("d", "3", "3")]) == {"a", "b", "c", "d"}
