"""An adapter costs no more than the SDK that it is built on; the benchmark measures both in the same run."""

import pytest

from bench.provider_streams import measure
from bench.stream_server import STREAMS
from domain.provider import ProviderKind


@pytest.mark.parametrize("kind", STREAMS, ids=lambda kind: kind.value)
def test_an_event_costs_less_than_by_the_sdk_alone(kind: ProviderKind) -> None:
    """A few percent more would do; reading only what is needed makes it far less."""
    cost = measure(kind, events=1_000, rounds=3)

    assert cost.to_sdk < 1.05, cost
