"""Endpoints that were typed in lead to public addresses only, whatever they are called and wherever they send us."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from domain.errors import ProviderFailed, ProviderFailureReason
from domain.provider import Finish, FinishReason, Model, Provider, ProviderKind, ProviderRequest, StreamEvent
from domain.secret import Secret
from domain.stream_timeouts import StreamTimeouts
from integrations import guarded_http
from integrations.compatible import CompatibleAdapter
from integrations.endpoint_guard import EndpointGuard, PrivateEndpoints, Resolve, is_public
from tests.standins.deepseek import DeepSeekStandin
from tests.standins.server import running

KEY = Secret("sk-9f8e7d6c5b4a39281706f5e4d3c2b1a0")
TIMEOUTS = StreamTimeouts(connect_seconds=60, first_token_seconds=60, idle_seconds=60, total_seconds=120)
HELLO = ProviderRequest(model=Model(id="deepseek-flash", name="A model"), prompt="Hello")
SOME_PUBLIC_ADDRESS = "93.184.216.34"


def provider_at(url: str, *, requires_key: bool = True) -> Provider:
    return Provider(
        id="local",
        kind=ProviderKind.COMPATIBLE,
        name="Our own",
        api_endpoint=url,
        models=(),
        config={"requires_key": requires_key},
        is_active=True,
    )


@dataclass
class Names:
    """A name service: what it answers, one after the other (the last one for ever), and what it was asked."""

    answers: list[Sequence[str]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def adapter_with(*private: str, resolve: Resolve | None = None) -> AsyncIterator[CompatibleAdapter]:
    adapter = CompatibleAdapter(EndpointGuard(PrivateEndpoints.listed(private), resolve=resolve), TIMEOUTS)
    try:
        yield adapter
    finally:
        await adapter.aclose()


async def failure_of(adapter: CompatibleAdapter, url: str) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        await adapter.models(provider_at(url), KEY)
    with pytest.raises(ProviderFailed) as streaming:
        await anext(_streamed(adapter, provider_at(url), KEY))
    assert streaming.value.message == caught.value.message
    assert KEY.reveal() not in caught.value.message
    return caught.value


class TestNoWayAround:
    """Each of the ways by which such guards have been passed, against a server that would have answered."""

    @pytest.mark.parametrize(
        "host",
        [
            pytest.param("127.0.0.1", id="plainly"),
            pytest.param("localhost", id="by name"),
            pytest.param("2130706433", id="decimal"),
            pytest.param("0177.0.0.1", id="octal"),
            pytest.param("0x7f.0.0.1", id="hex"),
            pytest.param("0x7f000001", id="hex in one number"),
            pytest.param("127.1", id="short"),
            pytest.param("[::1]", id="IPv6"),
            pytest.param("[::ffff:127.0.0.1]", id="IPv4-mapped"),
            pytest.param("[::127.0.0.1]", id="IPv4-compatible"),
            pytest.param("[64:ff9b::127.0.0.1]", id="NAT64"),
            pytest.param("[2002:7f00:1::]", id="6to4"),
            pytest.param("0.0.0.0", id="this machine"),
            pytest.param("169.254.169.254", id="metadata address"),
            pytest.param("[fd00:ec2::254]", id="metadata address by IPv6"),
            pytest.param("100.64.0.1", id="carrier's network"),
            pytest.param("224.0.0.1", id="multicast"),
        ],
    )
    @pytest.mark.parametrize("scheme", ["https", "http"])
    async def test_no_spelling_leads_inside(self, scheme: str, host: str) -> None:
        async with running(standin := DeepSeekStandin()) as base_url, adapter_with() as adapter:
            port = base_url.rpartition(":")[2]
            failed = await failure_of(adapter, f"{scheme}://{host}:{port}/v1")

        assert (failed.reason, failed.retryable) == (ProviderFailureReason.UNREACHABLE, False)
        # What the SDK's transport knows for no address it does not even look up.
        assert failed.message.startswith(("Our own is not asked. The host ", "The API endpoint of Our own is not"))
        assert standin.requests == []

    async def test_dns_rebinding(self) -> None:
        """The name is public when the endpoint is added, and private when a connection is made."""
        names = Names([[SOME_PUBLIC_ADDRESS], ["127.0.0.1"]])
        guard = EndpointGuard(PrivateEndpoints(), resolve=names.resolve)
        async with running(standin := DeepSeekStandin()) as base_url, adapter_with(resolve=names.resolve) as adapter:
            url = f"https://rebinding.test:{base_url.rpartition(':')[2]}/v1"
            assert await guard.find_objection(url) is None
            failed = await failure_of(adapter, url)

        assert "leads to an address that is not public" in failed.message
        assert standin.requests == []

    async def test_what_was_checked_is_what_is_connected_to(self) -> None:
        """The name is looked up once for a connection: nothing can change between the check and the connection."""
        names = Names([["127.0.0.1"], [SOME_PUBLIC_ADDRESS]])
        async with (
            running(standin := DeepSeekStandin()) as base_url,
            adapter_with("127.0.0.1", resolve=names.resolve) as adapter,
        ):
            port = base_url.rpartition(":")[2]
            await adapter.models(provider_at(f"http://llm.test:{port}/v1"), KEY)

        assert names.asked == ["llm.test"]
        assert standin.requests[0].headers["host"] == f"llm.test:{port}"

    async def test_one_private_address_among_public_ones(self) -> None:
        names = Names([[SOME_PUBLIC_ADDRESS, "10.0.0.5"]])
        async with adapter_with(resolve=names.resolve) as adapter:
            failed = await failure_of(adapter, "https://mixed.test/v1")

        assert "not public" in failed.message

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_redirect(self, status: int) -> None:
        async with (
            running(inside := DeepSeekStandin()) as target,
            redirecting(f"{target}/v1/models", status) as (address, seen),
            adapter_with("127.0.0.1") as adapter,
        ):
            failed = await failure_of(adapter, f"{address}/v1")

        assert failed.reason is ProviderFailureReason.REJECTED
        assert f"sends this server elsewhere (HTTP {status}), where it does not go" in failed.message
        assert len(seen) == 2
        assert inside.requests == []

    async def test_proxies_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with (
            running(proxy := DeepSeekStandin()) as proxy_url,
            running(standin := DeepSeekStandin()) as base_url,
            adapter_with("127.0.0.1") as adapter,
        ):
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, proxy_url)
            await adapter.models(provider_at(base_url), KEY)

        assert proxy.requests == []
        assert len(standin.requests) == 1


class TestTheOperatorsList:
    @pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "localhost", "LOCALHOST."])
    async def test_opens_what_it_names(self, entry: str) -> None:
        async with running(standin := DeepSeekStandin()) as base_url, adapter_with(entry) as adapter:
            port = base_url.rpartition(":")[2]
            # The stand-in listens on IPv4 alone, and a name may mean both.
            models = await adapter.models(provider_at(f"http://localhost:{port}/v1"), KEY)

        assert [model.id for model in models] == list(standin.models)

    async def test_opens_nothing_else(self) -> None:
        async with running(standin := DeepSeekStandin()) as base_url, adapter_with("10.0.0.0/8", "llm.lan") as adapter:
            failed = await failure_of(adapter, base_url)

        assert "PRIVATE_ENDPOINTS" in failed.message
        assert standin.requests == []

    @pytest.mark.parametrize(
        "address",
        ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "64:ff9b::169.254.169.254", "fe80::1"],
    )
    async def test_opens_no_metadata_service(self, address: str) -> None:
        names = Names([[address]])
        everything = EndpointGuard(PrivateEndpoints.listed(["0.0.0.0/0", "::/0", "llm.lan"]), resolve=names.resolve)

        objection = await everything.find_objection("http://llm.lan/v1")

        assert objection == "The host llm.lan leads to an address that this server never talks to."

    async def test_plain_http_is_for_what_it_names(self) -> None:
        guard = EndpointGuard(PrivateEndpoints(), resolve=Names([[SOME_PUBLIC_ADDRESS]]).resolve)

        assert await guard.find_objection("https://llm.example/v1") is None
        assert "has to begin with https://" in (await guard.find_objection("http://llm.example/v1") or "")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *(
            (each, True)
            for each in ("1.1.1.1", SOME_PUBLIC_ADDRESS, "2606:4700:4700::1111", "2a00:1450:4001:82a::200e")
        ),
        *(
            (each, False)
            for each in ("10.1.2.3", "172.16.0.1", "192.168.1.1", "198.18.0.1", "203.0.113.9", "240.0.0.1")
        ),
        *((each, False) for each in ("192.88.99.1", "233.252.0.1", "255.255.255.255", "::", "fc00::1", "fec0::1")),
        *(
            (each, False)
            for each in ("64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:808:808::1", "2001:0:808::1", "ff0e::1")
        ),
        *((each, False) for each in ("2001:db8::1", "::8.8.8.8", "100::1")),
    ],
)
def test_what_is_public(address: str, expected: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is expected


class TestAServer:
    async def test_that_takes_no_key_gets_none(self) -> None:
        async with running(server := OpenServer()) as base_url, adapter_with("127.0.0.1") as adapter:
            provider = provider_at(base_url, requires_key=False)
            models = await adapter.models(provider, None)
            events = [event async for event in _streamed(adapter, provider, None)]

        assert [model.id for model in models] == ["llama"]
        assert events[-1] == Finish(FinishReason.STOP)
        assert ["authorization" in request for request in server.headers] == [False, False]

    async def test_that_takes_a_key_is_not_asked_without(self) -> None:
        async with running(server := OpenServer()) as base_url, adapter_with("127.0.0.1") as adapter:
            with pytest.raises(ProviderFailed) as caught:
                await adapter.models(provider_at(base_url), None)

        assert caught.value.reason is ProviderFailureReason.AUTHENTICATION
        assert server.headers == []

    async def test_with_tls_is_asked_for_by_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The connection is made to a checked address, and the certificate must be that of the name all the same."""
        context, authority = certificate_of("llm.test", tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        names = Names([["127.0.0.1"]])
        body = json.dumps({"object": "list", "data": [{"id": "llama", "object": "model"}]}).encode()
        async with (
            answering(200, {"content-type": "application/json"}, body, context=context) as (address, _),
            adapter_with("127.0.0.1", resolve=names.resolve) as adapter,
        ):
            port = address.rpartition(":")[2]
            models = await adapter.models(provider_at(f"https://llm.test:{port}/v1"), KEY)
            with pytest.raises(ProviderFailed) as caught:
                await adapter.models(provider_at(f"https://other.test:{port}/v1"), KEY)

        assert [model.id for model in models] == ["llama"]
        assert caught.value.reason is ProviderFailureReason.UNREACHABLE

    async def test_whose_list_has_no_end_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guarded_http, "MAX_BODY_BYTES", 100_000)
        body = b'{"data": [' + b'{"id": "x"},' * 20_000
        async with (
            answering(200, {"content-type": "application/json"}, body) as (address, _),
            adapter_with("127.0.0.1") as adapter,
        ):
            with pytest.raises(ProviderFailed, match="far more than such an endpoint has to say"):
                await adapter.models(provider_at(address), KEY)

    async def test_one_of_whose_events_has_no_end_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guarded_http, "MAX_BODY_BYTES", 100_000)
        async with (
            answering(200, {"content-type": "text/event-stream"}, b"data: " + b"x" * 300_000) as (address, _),
            adapter_with("127.0.0.1") as adapter,
        ):
            with pytest.raises(ProviderFailed, match="far more than such an endpoint has to say"):
                _ = [event async for event in _streamed(adapter, provider_at(address), KEY)]

    async def test_that_packs_its_answers_unasked_is_not_read(self) -> None:
        async with (
            answering(200, {"content-type": "application/json", "content-encoding": "gzip"}, b"\x1f\x8b") as (
                address,
                seen,
            ),
            adapter_with("127.0.0.1") as adapter,
        ):
            with pytest.raises(ProviderFailed, match="packed answers"):
                await adapter.models(provider_at(address), KEY)

        assert b"accept-encoding: identity" in seen[0].lower()

    async def test_that_cannot_be_found_is_told(self) -> None:
        async def nowhere(_host: str, _port: int) -> Sequence[str]:
            raise OSError("Name or service not known")

        async with adapter_with(resolve=nowhere) as adapter:
            failed = await failure_of(adapter, "https://nowhere.test/v1")

        assert (
            failed.message
            == "Our own is not asked. The host nowhere.test cannot be found. Check the endpoint's address."
        )


async def _streamed(adapter: CompatibleAdapter, provider: Provider, key: Secret | None) -> AsyncIterator[StreamEvent]:
    async with adapter.stream(provider, key, HELLO) as events:
        async for event in events:
            yield event


class OpenServer:
    """A server like Ollama, which asks nobody for a key; it remembers the headers."""

    base_path = "/v1"

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def app(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # an ASGI application
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        while (await receive())["more_body"]:
            pass
        if scope["path"] == "/v1/models":
            kind, body = (
                b"application/json",
                b'{"object": "list", "data": [{"id": "llama"}, {"id": "nomic-embedding"}]}',
            )
        else:
            chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
            kind, body = b"text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def answering(
    status: int, headers: dict[str, str], body: bytes, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives everybody this answer; its address, and the requests it has got."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            lines = [f"HTTP/1.1 {status} So", *(f"{name}: {value}" for name, value in headers.items())]
            lines += [f"content-length: {len(body)}", "connection: close", "", ""]
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    scheme = "http" if context is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()


def redirecting(target: str, status: int):  # type: ignore[no-untyped-def]  # as `answering`
    """A server that sends everybody elsewhere."""
    return answering(status, {"location": target}, b"")


def certificate_of(name: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for this name, and the file that makes clients trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = folder / "certificate.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return context, authority
