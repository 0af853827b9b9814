"""What a megabyte of Markdown costs on its way to Notion: ordinary answers, and texts that are made to take long.

Each text is read twice, at half the size and at the whole: twice the text should take twice the time. The pause is the
longest time that the event loop stands still meanwhile, as on the server: with its settings of the garbage collector,
the work in another thread. It is CPU time of the whole process, so that other programs don't show in it.
`--publish` also writes the ordinary answer to a Notion of its own, in another process.

.venv/bin/python -m bench.markdown [--publish] [NAME …]
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Coroutine
from itertools import pairwise
from multiprocessing.connection import Connection

from domain.notion import NewPage, NotionParent
from domain.secret import Secret
from integrations.markdown import parse
from integrations.notion import NotionAdapter
from integrations.notion_blocks import to_notion
from ops.lifecycle import collect_garbage_rarely
from tests.standins.notion import NotionStandin
from tests.standins.server import running

_CHARS = 1_000_000
_PROSE = """## Whales and *other* giants

A **blue whale** weighs up to `190` tonnes; see [the list](https://example.com/whales) for more about it and its kin.

- one kind
  - and another, *smaller* one
- the rest

| kind | tonnes |
| ---- | ------ |
| blue | 190 |

```py
print("whale")
```

"""
_TABLE = "| a | b |\n| - | - |\n"
_NOTE = "[^a]: x\n\n"
_TEXTS = {
    "an ordinary answer": _PROSE,
    "paragraphs with two emphasised words": "*tiny* word here, **bold**\n\n",
    "one word on each line": "a\n",
    "paragraphs of one letter": "a\n\n",
    "items of one letter": "- a\n",
    "numbered items": "1. a\n",
    "tasks": "- [ ] a\n",
    "headings of one letter": "# a\n",
    "headings with lines below": "a\n-\n",
    "quotes of one letter": "> a\n\n",
    "quotes in quotes": "> " * 12 + "a\n",
    "lists in lists": "".join("  " * depth + "- a\n" for depth in range(15)),
    "callouts": "> [!NOTE]\n> a\n\n",
    "toggles": "<details><summary>a</summary>\n\nb\n\n</details>\n\n",
    "rows of a table": "| a | b |\n",
    "tables of one row": "a | b\n- | -\n",
    "fences": "```\na\n```\n",
    "formulas": "$$\na\n$$\n",
    "formulas that never end": "$$\n",
    "paragraphs of HTML": "<p>a</p>\n",
    "notes that nobody mentions": "[^a]: a\n",
    "mentions of a note": "[^a] ",
    "definitions of links": "[a]: /b\n",
    "brackets that open": "[",
    "images that open": "![",
    "links that open": "[a](",
    "references that open": "[a][",
    "brackets apart": "[ [ ",
    "links": "[a](https://b.example) ",
    "emphasis within emphasis": "*a _b ",
    "stars between letters": "a**b",
    "tildes": "~a ",
    "backticks": "`a ",
    "words of code": "`a` ",
    "prices": "$5 and ",
    "mathematics": "$x$ ",
    "tags": "<b>",
    "superscripts": "<sup>2</sup>",
    "escapes": "\\*",
    "entities": "&amp;",
    "addresses": "https://a.example ",
}


def _text(name: str, chars: int) -> str:
    piece = _TEXTS[name]
    head = {"rows of a table": _TABLE, "mentions of a note": _NOTE}.get(name, "")
    return head + (piece * (chars // len(piece) + 1))[:chars]


async def _longest_pause_ms(work: Coroutine[object, object, object]) -> float:
    """How long at most the event loop stands still until the work is done."""
    times = [time.process_time()]
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0.001)
        times.append(time.process_time())
    await task
    return max(after - before for before, after in pairwise(times)) * 1_000


def _seconds(text: str) -> tuple[float, float]:
    """CPU time of reading a text, and of making blocks of it."""
    started_at = time.process_time()
    document = parse(text)
    read_at = time.process_time()
    to_notion(document)
    return read_at - started_at, time.process_time() - read_at


def _convert(text: str) -> None:
    to_notion(parse(text))


def _read(names: list[str]) -> None:
    print(f"{'a megabyte of':38}{'reading':>10}{'blocks':>10}{'to half of it':>15}{'longest pause':>15}")
    for name in names:
        half = _seconds(_text(name, _CHARS // 2))
        text = _text(name, _CHARS)
        reading, making = _seconds(text)
        pause_ms = asyncio.run(_longest_pause_ms(asyncio.to_thread(_convert, text)))
        ratio = (reading + making) / sum(half)
        print(f"{name:38}{reading:8.2f} s{making:8.2f} s{ratio:13.1f} x{pause_ms:12.0f} ms", flush=True)


# --- publishing


def _serve_notion(pipe: Connection) -> None:
    async def serve() -> None:
        standin = NotionStandin()
        token = standin.add_workspace("Bench").token
        page = standin.add_page("Inbox")
        async with running(standin) as base_url:
            pipe.send((base_url, token, page.id))
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


async def _publish(notion: NotionAdapter, token: Secret, parent: NotionParent, text: str) -> None:
    """As the publisher does."""
    document = await asyncio.to_thread(parse, text)
    page = await notion.create_page(token, NewPage(parent=parent, title="A megabyte", properties={}, document=document))
    await notion.complete_page(token, page.page_id, document)


async def _longest_pause_of_publishing_ms(base_url: str, token: Secret, page_id: str, text: str) -> float:
    notion = NotionAdapter(base_url=base_url)
    try:
        # Also a first request, which loads half of the HTTP client; a server has made one long before.
        parent = await notion.resolve_parent(token, page_id)
        return await _longest_pause_ms(_publish(notion, token, parent, text))
    finally:
        await notion.aclose()


def _write() -> None:
    ours, theirs = multiprocessing.Pipe()
    notion = multiprocessing.get_context("spawn").Process(target=_serve_notion, args=(theirs,))
    notion.start()
    try:
        base_url, token, page_id = ours.recv()
        text = _text("an ordinary answer", _CHARS)
        started_at, cpu_at = time.perf_counter(), time.process_time()
        pause_ms = asyncio.run(_longest_pause_of_publishing_ms(base_url, Secret(token), page_id, text))
        taken, used = time.perf_counter() - started_at, time.process_time() - cpu_at
        print(f"Publishing: {taken:.0f} s, of them {used:.1f} s of CPU time here; longest pause {pause_ms:.0f} ms")
    finally:
        ours.send(None)
        notion.join()


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--publish", action="store_true")
    arguments.add_argument("names", nargs="*", metavar="NAME")
    asked = arguments.parse_args()
    collect_garbage_rarely()
    _read(asked.names or list(_TEXTS))
    if asked.publish:
        _write()


if __name__ == "__main__":
    _main()
