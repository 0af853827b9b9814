"""Runs stand-ins in the foreground, for trials by hand: `python -m tests.standins.serve --openai 9101`."""

import argparse
import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from tests.standins.anthropic import AnthropicStandin
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.notion import demo_notion
from tests.standins.openai import OpenAIStandin
from tests.standins.scenario import Scenario, by_name
from tests.standins.server import Served, running

DEFAULT_DELAY_SECONDS = 0.04

# Each entry becomes an option --NAME PORT. The argument is the scenario of requests that name none.
FACTORIES: Mapping[str, Callable[[Scenario], Served]] = {
    "openai": lambda scenario: OpenAIStandin(default=scenario),
    "anthropic": lambda scenario: AnthropicStandin(default=scenario),
    "deepseek": lambda scenario: DeepSeekStandin(default=scenario),
    "notion": lambda _scenario: demo_notion(),
}


async def serve(ports: Mapping[str, int], *, piece_delay_seconds: float) -> None:
    """Serves until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    async with AsyncExitStack() as stack:
        for name, port in ports.items():
            standin = FACTORIES[name](Scenario(piece_delay_seconds=piece_delay_seconds))
            base_url = await stack.enter_async_context(running(standin, port=port))
            print(f"{name:<10} {base_url}", flush=True)
        print(f"A prompt with standin:NAME asks for a scenario. Names: {', '.join(by_name())}", flush=True)
        await stop.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins.serve", description=__doc__)
    for name in FACTORIES:
        parser.add_argument(f"--{name}", type=int, metavar="PORT", help="0 takes a free port")
    parser.add_argument("--delay", type=float, default=DEFAULT_DELAY_SECONDS, help="seconds between two pieces of text")
    arguments = vars(parser.parse_args())
    ports = {name: arguments[name] for name in FACTORIES if arguments[name] is not None}
    if not ports:
        parser.error(f"name at least one of {', '.join(f'--{name}' for name in FACTORIES)}")
    asyncio.run(serve(ports, piece_delay_seconds=arguments["delay"]))


if __name__ == "__main__":
    main()
