"""How long documents that are made to keep a server busy hold its event loop, against a small ordinary query.

.venv/bin/python -m bench.floods
"""

import asyncio
import time
from types import SimpleNamespace

from domain.errors import InvalidInput
from domain.rate_limit import Rate
from schema.request import decode_json, read_operation
from schema.root import SCHEMA
from schema.transport import encode
from tests.api.floods import FLOODS

_SMALL = "{ server { version state } }"
_ROUNDS = 5


async def _spend(_: Rate, *, points: int) -> None:
    """Paying is measured elsewhere: for a visitor it is some microseconds."""


_VISITOR = SimpleNamespace(viewer=None, may_inspect=True, cost=0, spend=_spend)


async def _milliseconds(query: str) -> float:
    """CPU time of the fastest of a few rounds, from the body on; nothing here waits, so it is the event loop's."""
    fastest = float("inf")
    for number in range(_ROUNDS):
        # Each time another text, so that it is not one that is remembered.
        body = encode({"query": f"{query} #{number}"})
        started_at = time.process_time()
        try:
            operation = read_operation(decode_json(body))
        except InvalidInput:
            pass  # too long, which ends it here
        else:
            await SCHEMA.execute(operation.query, context_value=_VISITOR)
        fastest = min(fastest, time.process_time() - started_at)
    return fastest * 1_000


async def _main() -> None:
    small = await _milliseconds(_SMALL)
    print(f"{'a small query, never seen before':38}{small:8.2f} ms")
    for name, query in FLOODS.items():
        milliseconds = await _milliseconds(query)
        print(f"{name:38}{milliseconds:8.2f} ms{milliseconds / small:8.1f} x")


if __name__ == "__main__":
    asyncio.run(_main())
