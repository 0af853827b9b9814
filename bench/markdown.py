"""What a megabyte of Markdown costs on its way to Notion: ordinary answers, and texts that are made to take long.

.venv/bin/python -m bench.markdown
"""

import asyncio
import time
from itertools import pairwise

from integrations.markdown import parse
from integrations.notion_blocks import to_notion

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
_TEXTS = {
    "an ordinary answer": _PROSE,
    "paragraphs with two emphasised words": "*tiny* word here, **bold**\n\n",
    "one word on each line": "a\n",
    "items of one letter": "- a\n",
    "rows of a table": "| a | b |\n",
    "brackets that open": "[",
    "images that open": "![",
    "links that open": "[a](",
    "references that open": "[a][",
    "brackets apart": "[ [ ",
    "emphasis within emphasis": "*a _b ",
    "backticks": "`a ",
    "prices": "$5 and ",
    "tags": "<b>",
    "addresses": "https://a.example ",
}


async def _longest_pause_ms(text: str) -> float:
    """How long at most the event loop stands still while another thread reads the text."""
    times = [time.perf_counter()]
    work = asyncio.ensure_future(asyncio.to_thread(lambda: to_notion(parse(text))))
    while not work.done():
        await asyncio.sleep(0.001)
        times.append(time.perf_counter())
    return max(after - before for before, after in pairwise(times)) * 1_000


def _main() -> None:
    print(f"{'a megabyte of':40}{'reading':>10}{'blocks':>10}{'longest pause':>16}")
    for name, piece in _TEXTS.items():
        head = "| a | b |\n| - | - |\n" if piece.startswith("|") else ""
        text = head + (piece * (_CHARS // len(piece) + 1))[:_CHARS]
        started_at = time.process_time()
        document = parse(text)
        read_at = time.process_time()
        to_notion(document)
        made_at = time.process_time()
        pause_ms = asyncio.run(_longest_pause_ms(text))
        print(f"{name:40}{read_at - started_at:8.2f} s{made_at - read_at:8.2f} s{pause_ms:13.0f} ms", flush=True)


if __name__ == "__main__":
    _main()
