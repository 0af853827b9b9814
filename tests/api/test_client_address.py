"""From where somebody comes is said by the connection, or by a proxy that the operator trusts; never by themselves."""

import asyncpg
import pytest

from tests.api.assistant import at_work
from tests.api.graphql_socket import socket
from tests.api.product import LOGIN, PASSWORD, Person, Product

HERE = "127.0.0.1"
REAL = "203.0.113.7"
FORGED = "198.51.100.66"
WRONG = {"login": "ada", "password": "wrong"}
RIGHT = {"login": "ada", "password": PASSWORD}

Headers = list[tuple[str, str]]


def forwarded(*values: str) -> Headers:
    """A header line for each, as they come one after another."""
    return [("x-forwarded-for", value) for value in values]


async def signed_in_from(person: Person, database_url: str, headers: Headers) -> tuple[str | None, str | None]:
    """Signs in with these headers; the address in the audit log, and that of the session."""
    person.headers = {}
    response = await person.http.post("/graphql", json={"query": LOGIN, "variables": {"input": RIGHT}}, headers=headers)
    payload = response.json()["data"]["login"]
    assert payload["errors"] == []
    connection = await asyncpg.connect(database_url.replace("postgresql+asyncpg", "postgresql"))
    try:
        told = await connection.fetchrow(
            "SELECT target, ip FROM audit_log WHERE action = 'SIGNED_IN' ORDER BY id DESC LIMIT 1"
        )
    finally:
        await connection.close()
    assert told is not None
    person.sign_in(payload)
    sessions = await person.ask("{ viewer { sessions { ip isCurrent } } }")
    (current,) = [each for each in sessions["viewer"]["sessions"] if each["isCurrent"]]
    return told["ip"], current["ip"]


OTHERS: Headers = [
    (name, FORGED)
    for name in ("x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-forwarded-host", "x-forwarded")
] + [("forwarded", f"for={FORGED}")]


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8, 2001:db8::/32"], ids=["no proxy", "another proxy"])
async def test_nobody_but_a_trusted_proxy_is_believed(database_url: str, trusted: str) -> None:
    async with at_work(database_url, settings={"trusted_proxies": trusted}) as running:
        ada = await running.person("ada")
        for headers in (
            forwarded(FORGED),
            forwarded(HERE, FORGED),
            forwarded(f"{FORGED}, 10.0.0.1"),
            forwarded("10.0.0.1, 10.0.0.2"),
            forwarded("2001:db8::1"),
            forwarded("nonsense"),
            OTHERS,
        ):
            assert await signed_in_from(ada, database_url, headers) == (HERE, HERE), headers


async def test_a_trusted_proxy_is_believed_in_what_it_has_added(database_url: str) -> None:
    settings = {"trusted_proxies": "127.0.0.1, 10.9.9.9/8, 2001:db8:a::/48"}
    async with at_work(database_url, settings=settings) as running:
        ada = await running.person("ada")
        for headers, ip in (
            ([], HERE),
            (OTHERS, HERE),
            (forwarded(REAL), REAL),
            (forwarded(f"{FORGED}, {REAL}"), REAL),
            (forwarded(FORGED, REAL), REAL),
            (forwarded(f"{FORGED}, 10.0.0.1, {REAL}"), REAL),
            (forwarded(f"{FORGED}, {REAL}, 10.1.2.3, 10.3.2.1"), REAL),
            (forwarded(f"{FORGED},{REAL}", "10.1.2.3"), REAL),
            (forwarded(f"{FORGED}, {REAL}:4711"), REAL),
            (forwarded(f"{FORGED}, {REAL}, 2001:db8:a::1"), REAL),
            (forwarded(f"{FORGED}, {REAL}, [2001:db8:a::1]:443"), REAL),
            (forwarded(f"nonsense, <b>, {'x' * 500}, ' OR 1=1, {REAL}"), REAL),
            (forwarded(f", , {REAL}"), REAL),
            (forwarded(f"::ffff:{REAL}"), REAL),
            (forwarded(f"{FORGED}, 2001:DB8:0:0::7"), "2001:db8::7"),
            (forwarded(f"{FORGED}, [2001:db8::7]:4711"), "2001:db8::7"),
            (forwarded(f"fe80::7%{'x' * 500}"), "fe80::7"),
            # A proxy that adds no address has said nothing that can be kept.
            (forwarded(f"{REAL}, unknown"), None),
            (forwarded(f"{REAL}, {'9' * 500}"), None),
            (forwarded(f"{REAL}, {REAL}:port"), None),
            (forwarded(f"{REAL},"), HERE),
        ):
            assert await signed_in_from(ada, database_url, headers) == (ip, ip), headers


@pytest.mark.parametrize(("trusted", "ip"), [("", HERE), ("127.0.0.0/8", REAL)])
async def test_a_socket_comes_from_where_its_handshake_came(database_url: str, trusted: str, ip: str) -> None:
    async with at_work(database_url, settings={"trusted_proxies": trusted}) as running:
        await running.person("ada")
        root = await running.administrator()
        async with socket(running.address, additional_headers=forwarded(f"{FORGED}, {REAL}")) as ws:
            await ws.init()
            await ws.subscribe("1", LOGIN, variables={"input": RIGHT})
            assert (await ws.receive())["payload"]["data"]["login"]["errors"] == []
        audit = "{ auditLog(first: 2, filter: { action: [SIGNED_IN] }) { nodes { ip } } }"
        assert ip in [each["ip"] for each in (await root.ask(audit))["auditLog"]["nodes"]]


async def _codes(person: Person, inputs: dict[str, str], addresses: list[str]) -> list[str | None]:
    found = []
    for address in addresses:
        body = {"query": LOGIN, "variables": {"input": inputs}}
        response = await person.http.post("/graphql", json=body, headers=forwarded(address))
        errors = response.json()["data"]["login"]["errors"]
        found.append(errors[0]["code"] if errors else None)
    return found


async def _guess(running: Product, addresses: list[str]) -> list[str | None]:
    return await _codes(await running.visitor(), WRONG, addresses)


@pytest.mark.parametrize(("trusted", "last"), [("", ""), ("127.0.0.1", f", {REAL}")])
async def test_guessing_from_made_up_addresses_is_slowed_down_all_the_same(
    database_url: str, trusted: str, last: str
) -> None:
    async with at_work(database_url, settings={"trusted_proxies": trusted}) as running:
        await running.person("ada")
        codes = await _guess(running, [f"198.51.100.{number}{last}" for number in range(1, 12)])
        assert codes[:8] == ["UNAUTHENTICATED"] * 8
        assert "RATE_LIMITED" in codes[8:]
        if trusted:  # and whoever really is elsewhere is not kept back by it
            assert await _guess(running, ["203.0.113.200"]) == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(("trusted", "last"), [("", ""), ("127.0.0.1", f", {REAL}")])
async def test_made_up_addresses_share_their_buckets(database_url: str, trusted: str, last: str) -> None:
    settings = {"trusted_proxies": trusted, "sign_ins_per_minute": 1, "cost_per_minute": 300}
    async with at_work(database_url, settings=settings) as running:
        forged = [f"198.51.100.{number}{last}" for number in range(1, 60)]
        assert await _guess(running, forged[:2]) == ["UNAUTHENTICATED", "RATE_LIMITED"]
        visitor = await running.visitor()
        query = {"query": f"{{ {' '.join(f'a{number}: server {{ version }}' for number in range(20))} }}"}
        statuses = [
            (await visitor.http.post("/graphql", json=query, headers=forwarded(each))).status_code for each in forged
        ]
        assert (statuses[0], 429 in statuses) == (200, True)
        if trusted:  # whoever really is elsewhere has others
            response = await visitor.http.post("/graphql", json=query, headers=forwarded("203.0.113.200"))
            assert response.status_code == 200
            assert await _guess(running, ["203.0.113.201"]) == ["UNAUTHENTICATED"]
