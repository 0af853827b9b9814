"""Composition: configuration -> adapters -> services -> the application, and nothing else."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from uuid_utils.compat import uuid7

from domain.access_token_service import AccessTokenService
from domain.account import AccessTokens, Role
from domain.account_link_service import AccountLinkService
from domain.administration import AdministrationService
from domain.answer_cache import AnswerCache, MemoryAnswerCache
from domain.api_key_service import ApiKeyService
from domain.authentication import AuthenticationService
from domain.billing import Biller
from domain.budget import BudgetPeriod, BudgetRules
from domain.budget_service import BudgetService
from domain.cipher import Cipher
from domain.circuit_breaker import BreakerPolicy, CircuitBreakers
from domain.generation import RecoveryPolicy
from domain.generation_feed import GenerationFeed
from domain.generation_service import GenerationService
from domain.generator import Generator, RunLimits
from domain.housekeeping import Housekeeper
from domain.key_rotation import find_unknown_keys
from domain.live_log import LiveLogs
from domain.maintenance import Maintenance
from domain.notion_authorization_service import NotionAuthorizationService
from domain.notion_pacer import NotionPacer
from domain.notion_parents import NotionParents
from domain.notion_service import NotionService
from domain.notion_webhook_service import NotionWebhookService
from domain.page_sync_service import PageSyncService
from domain.page_watcher import PageWatcher
from domain.password import PasswordRules
from domain.pricing import Pricing
from domain.privacy import PrivacyService
from domain.provider import ProviderKind
from domain.provider_caller import CallRules, ProviderCaller
from domain.provider_catalog import ProviderCatalog
from domain.provider_service import ProviderService
from domain.publication_draft import PublicationDrafter
from domain.publication_service import PublicationService
from domain.publication_writer import PublicationWriter
from domain.publisher import Publisher
from domain.rate_limit import Allowance, Rate, RateLimits
from domain.remote_tail import RemoteTail
from domain.retry_policy import RetryPolicy
from domain.secret import Secret
from domain.session_service import SessionService
from domain.session_watch import SessionWatch
from domain.settings_service import SettingsService
from domain.sign_in import Lifetimes, SignIns
from domain.sign_up import SignUp
from domain.signing_key_service import SigningKeyService
from domain.store import Store
from domain.stream_timeouts import StreamTimeouts
from domain.usage_service import UsageService
from integrations.anthropic import AnthropicAdapter
from integrations.cipher import AesGcmCipher, Keyring
from integrations.common_passwords import common_passwords
from integrations.compatible import CompatibleAdapter
from integrations.deepseek import DeepSeekAdapter
from integrations.demo import TOKENS_PER_SECOND, DemoAdapter
from integrations.endpoint_guard import EndpointGuard, PrivateEndpoints
from integrations.markdown import parse
from integrations.notion import NotionAdapter
from integrations.notion_oauth import NotionOAuthAdapter
from integrations.notion_page import expected_fingerprint
from integrations.openai import OpenAIAdapter
from integrations.passwords import Argon2Passwords
from integrations.prices import BundledPrices
from integrations.rate_counters import LimitsRateCounters
from integrations.redis import RedisAnswerCache, RedisTokenBus
from integrations.tokens import SealedAccessTokens
from ops.config import Config, Environment
from ops.encryption_key import EncryptionKey
from ops.errors import StartupError
from ops.health import Health, health_routes
from ops.jwks import jwks_route
from ops.lifecycle import Lifecycle
from ops.metrics import Metrics, metrics_route
from ops.notion_webhook import notion_webhook_route
from ops.requests import RequestObserver
from ops.response_headers import ResponseHeaders
from ops.secrets_file import encryption_keys
from persistence.engine import create_engine
from persistence.migrate import is_at_head
from persistence.notifications import WorkNotifications
from persistence.store import PostgresStore
from resolvers import ids
from resolvers.context import Services
from schema.caller import SESSION_HEADER, Callers, CookieRules
from schema.downloads import download_routes
from schema.endpoint import GraphQLEndpoint
from schema.notion_callback import notion_callback_route
from schema.playground import playground_routes
from schema.root import SCHEMA, contexts_of
from schema.transport import Transport, TransportLimits

ReadKeys: TypeAlias = Callable[[], Sequence[EncryptionKey]]

VERSION: Final = "0.1.0"
_WEB_FOLDER: Final = Path(__file__).parent / "web" / "dist"
_NAMESPACE: Final = "notion-assistant"
_MAX_RUNNING_PUBLICATIONS: Final = 8
# Longer than a generation's: a request to Notion may have to wait for its turn and a connection.
_PUBLICATION_LEASES: Final = 4
_STORING_SECONDS: Final = 5.0
_LAST_WORDS_SECONDS: Final = 2.0

_log = structlog.get_logger("composition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistant:
    """The running product: the application that serves it, and what must be drained before it stops."""

    app: ASGIApp
    store: PostgresStore
    services: Services
    signing_keys: SigningKeyService
    generator: Generator
    publisher: Publisher
    watcher: PageWatcher
    webhooks: NotionWebhookService
    feed: GenerationFeed
    answers: AnswerCache | None
    prices: BundledPrices
    leaving: asyncio.Event
    drain_timeout_seconds: float

    async def warm_up(self) -> None:
        """Loads what takes seconds, beside the event loop: the price list, and the SDKs that somebody can use."""
        await asyncio.to_thread(self.prices.warm_up)
        await self.services.providers.warm_up()

    async def drain(self) -> None:
        """Takes no more work; running generations and publications end, or are kept as far as they have come.

        Whoever then still waits for what runs elsewhere is sent there.
        """
        try:
            self.watcher.drain()
            # A little less than the process has, so that what is interrupted can still be stored.
            await self.generator.drain(timeout_seconds=max(0.0, self.drain_timeout_seconds - _STORING_SECONDS))
            await self.publisher.drain()
            await self.feed.settle(timeout_seconds=_LAST_WORDS_SECONDS)
        finally:
            self.leaving.set()


@asynccontextmanager
async def assistant(
    config: Config,
    *,
    database_url: str,
    keys: Sequence[EncryptionKey],
    reread_keys: ReadKeys | None = None,
    lifecycle: Lifecycle | None = None,
    demo_tokens_per_second: float = TOKENS_PER_SECOND,
) -> AsyncIterator[Assistant]:
    """Everything, composed and at work, on a migrated database; stops its workers and closes its connections."""
    lifecycle = lifecycle or Lifecycle()
    cipher = cipher_of(keys, reread_keys)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        engine = create_engine(database_url, pool_size=config.database_pool_size)
        store = PostgresStore(engine)
        stack.push_async_callback(store.dispose)
        metrics.watch_pool(size=store.connections_max, used=lambda: store.connections_in_use)

        await check_keys(store, keys)
        tokens, signing_keys = await signing_keys_of(config, store, cipher)
        authentication, account_links = accounts_of(config, store, tokens, signing_keys, stack)
        timeouts = StreamTimeouts(
            first_token_seconds=config.first_token_timeout_seconds,
            idle_seconds=config.idle_timeout_seconds,
            total_seconds=config.generation_timeout_seconds,
        )
        openai = OpenAIAdapter(config.openai_base_url, timeouts)
        anthropic = AnthropicAdapter(config.anthropic_base_url, timeouts)
        deepseek = DeepSeekAdapter(config.deepseek_base_url, timeouts)
        guard = EndpointGuard(PrivateEndpoints.listed(config.private_endpoints))
        compatible = CompatibleAdapter(guard, timeouts)
        pace = NotionPacer(store=store, requests_per_minute=config.notion_requests_per_minute)
        notion = NotionAdapter(base_url=config.notion_base_url, pace=pace)
        for adapter in (openai, anthropic, deepseek, compatible, notion):
            stack.push_async_callback(adapter.aclose)
        prices = BundledPrices()
        pricing = Pricing(prices)
        budgets = BudgetService(store=store, rules=_budget_rules(config), clock=utc_now)
        catalog = ProviderCatalog(
            store=store,
            adapters={
                ProviderKind.OPENAI: openai,
                ProviderKind.ANTHROPIC: anthropic,
                ProviderKind.DEEPSEEK: deepseek,
                ProviderKind.COMPATIBLE: compatible,
                ProviderKind.DEMO: DemoAdapter(tokens_per_second=demo_tokens_per_second),
            },
            server_keys=_server_keys(config),
            cipher=cipher,
            pricing=pricing,
            clock=utc_now,
        )

        lease = timedelta(seconds=config.lease_seconds)
        logs = LiveLogs()
        instance_id = secrets.token_hex(4)
        bus = None
        if config.redis_url is not None:
            bus = RedisTokenBus(config.redis_url, namespace=_NAMESPACE, instance_id=instance_id)
            stack.push_async_callback(bus.aclose)
        oauth = _notion_oauth(config)
        if oauth is not None:
            stack.push_async_callback(oauth.aclose)
        connections = NotionService(store=store, notion=notion, oauth=oauth, cipher=cipher, clock=utc_now, new_id=uuid7)
        image_hosts = frozenset(config.notion_image_hosts)
        reader = partial(parse, image_hosts=image_hosts)
        watcher = PageWatcher(
            store=store,
            notion=notion.in_background(),
            notion_for_people=notion,
            connections=connections,
            fingerprint=partial(expected_fingerprint, image_hosts=image_hosts),
            clock=utc_now,
            new_id=uuid7,
            interval=timedelta(seconds=config.notion_look_seconds),
        )
        settling_time = timedelta(seconds=config.notion_settling_seconds)
        publisher = Publisher(
            store=store,
            writer=PublicationWriter(
                store=store,
                notion=notion.in_background(),
                connections=connections,
                keeper=watcher,
                parse=reader,
                clock=utc_now,
                new_id=uuid7,
                settling_time=settling_time,
            ),
            logs=logs,
            telemetry=metrics,
            clock=utc_now,
            max_running=_MAX_RUNNING_PUBLICATIONS,
            lease=_PUBLICATION_LEASES * lease,
        )
        maintenance = Maintenance(store=store)
        drafter = PublicationDrafter(
            notion=notion,
            connections=connections,
            parse=reader,
            reference_of=partial(ids.encode, ids.NodeType.GENERATION),
        )
        publications = PublicationService(
            store=store,
            drafter=drafter,
            worker=publisher,
            maintenance=maintenance,
            clock=utc_now,
            new_id=uuid7,
            settling_time=settling_time,
        )
        biller = Biller(pricing)
        caller = ProviderCaller(
            store=store,
            catalog=catalog,
            biller=biller,
            logs=logs,
            telemetry=metrics,
            circuits=CircuitBreakers(BreakerPolicy(failures=config.circuit_breaker_failures), now=time.monotonic),
            clock=utc_now,
            new_id=uuid7,
            rules=CallRules(
                total_seconds=config.generation_timeout_seconds,
                retries=RetryPolicy(max_retries=config.provider_retries),
            ),
        )
        answers = _answer_cache(config, stack)
        generator = Generator(
            store=store,
            caller=caller,
            biller=biller,
            publisher=publisher,
            logs=logs,
            answers=answers,
            bus=bus,
            telemetry=metrics,
            clock=utc_now,
            limits=RunLimits(
                max_running=config.max_running_generations,
                max_running_per_user=config.max_running_generations_per_user,
            ),
            recovery=RecoveryPolicy(restarts_shown=config.restart_interrupted),
            owner=f"{socket.gethostname()}:{os.getpid()}:{instance_id}",
            lease=lease,
        )
        leaving = asyncio.Event()
        feed = GenerationFeed(store=store, logs=logs)
        metrics.watch_streams(lambda: feed.watch_count)
        generations = GenerationService(
            store=store,
            catalog=catalog,
            budgets=budgets,
            pricing=pricing,
            answers=answers,
            answers_are_shared=config.answer_cache_shared,
            publications=publications,
            drafter=drafter,
            maintenance=maintenance,
            feed=feed,
            runner=generator,
            leaving=leaving,
            clock=utc_now,
            new_id=uuid7,
            max_prompt_chars=config.max_prompt_chars,
            system_prompt=config.system_prompt,
        )
        administration = AdministrationService(store=store, generations=generations, answers=answers, clock=utc_now)
        services = Services(
            version=VERSION,
            authentication=authentication,
            generations=generations,
            publications=publications,
            page_sync=PageSyncService(
                store=store,
                watcher=watcher,
                worker=publisher,
                parse=reader,
                maintenance=maintenance,
                clock=utc_now,
                new_id=uuid7,
            ),
            budgets=budgets,
            usage=UsageService(store=store, clock=utc_now),
            notion=connections,
            notion_parents=NotionParents(notion=notion, connections=connections, clock=utc_now),
            notion_authorizations=NotionAuthorizationService(
                store=store,
                oauth=oauth,
                connections=connections,
                origin=config.origin,
                other_origins=frozenset(config.allowed_origins),
                clock=utc_now,
            ),
            providers=catalog,
            provider_administration=ProviderService(store=store, guard=guard),
            api_keys=ApiKeyService(store=store, catalog=catalog, cipher=cipher, clock=utc_now, new_id=uuid7),
            settings=SettingsService(store=store, catalog=catalog, clock=utc_now),
            sessions=SessionService(store=store, clock=utc_now),
            account_links=account_links,
            access_tokens=AccessTokenService(store=store, clock=utc_now, new_id=uuid7),
            rates=_rate_limits(config, stack),
            is_schema_open=config.environment is Environment.DEVELOPMENT,
            offers_cookie_sessions=config.cookie_sessions,
            administration=administration,
            privacy=PrivacyService(store=store, authentication=authentication, administration=administration),
            maintenance=maintenance,
            sign_up=SignUp(store=store, configured=config.sign_up_policy),
            is_draining=lambda: lifecycle.is_draining,
        )
        webhooks = NotionWebhookService(store=store, cipher=cipher, clock=utc_now, new_id=uuid7, wake=watcher.wake)
        health = Health(
            {"database": store.ping, "migrations": lambda: is_at_head(engine)},
            is_draining=lambda: lifecycle.is_draining,
        )
        async with asyncio.TaskGroup() as group:
            tail = RemoteTail(store=store, logs=logs, bus=bus)
            sessions = SessionWatch(store=store, clock=utc_now)

            def on_work() -> None:
                generator.wake()
                publisher.wake()

            notifications = WorkNotifications(database_url, on_work)
            housekeeper = Housekeeper(store=store, clock=utc_now, answers=answers, retention_days=config.retention_days)
            workers = [
                group.create_task(worker.run())
                for worker in (generator, publisher, watcher, tail, sessions, signing_keys, notifications, housekeeper)
            ]
            yield Assistant(
                app=_application(config, services, sessions, signing_keys, webhooks, metrics, health, leaving),
                store=store,
                services=services,
                signing_keys=signing_keys,
                generator=generator,
                publisher=publisher,
                watcher=watcher,
                webhooks=webhooks,
                feed=feed,
                answers=answers,
                prices=prices,
                leaving=leaving,
                drain_timeout_seconds=config.drain_timeout_seconds,
            )
            for worker in workers:
                worker.cancel()


def _application(
    config: Config,
    services: Services,
    sessions: SessionWatch,
    signing_keys: SigningKeyService,
    webhooks: NotionWebhookService,
    metrics: Metrics,
    health: Health,
    leaving: asyncio.Event,
) -> ASGIApp:
    origins = frozenset(config.allowed_origins)
    cookies = CookieRules(own_origin=config.public_url, allowed_origins=origins) if config.cookie_sessions else None
    callers = Callers(services.authentication.authenticate, cookies=cookies)
    endpoint = GraphQLEndpoint(
        Transport(
            schema=SCHEMA,
            callers=callers,
            renew=services.authentication.renew,
            new_context=contexts_of(services),
            watch_session=sessions.watch,
            clock=utc_now,
            leaving=leaving,
            limits=TransportLimits.admitting(
                max_prompt_chars=config.max_prompt_chars,
                longest_generation=timedelta(seconds=config.generation_timeout_seconds),
            ),
            allowed_origins=origins,
        )
    )
    routes: list[BaseRoute] = [
        Route("/graphql", endpoint, name="graphql"),
        WebSocketRoute("/graphql", endpoint, name="graphql-websocket"),
        notion_callback_route(services.notion_authorizations),
        jwks_route(signing_keys.published),
        *download_routes(services, callers),
        notion_webhook_route(webhooks.receive),
        *health_routes(health),
        *playground_routes(_WEB_FOLDER),
    ]
    if config.metrics_enabled:
        routes.append(metrics_route(metrics))
    middleware = []
    if config.allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=config.allowed_origins,
                allow_methods=["GET", "POST"],
                # Safe because each origin is allowed by its name, never all of them.
                allow_credentials=True,
                allow_headers=[
                    "authorization",
                    "content-type",
                    "apollo-require-preflight",
                    "x-apollo-operation-name",
                    SESSION_HEADER,
                ],
                expose_headers=["x-request-id"],
                max_age=3600,
            )
        )
    app = ResponseHeaders(Starlette(routes=routes, middleware=middleware), is_https=config.origin.startswith("https:"))
    # Around everything, so that a fault anywhere is seen with its request's id.
    return RequestObserver(app, metrics=metrics)


def _rate_limits(config: Config, stack: AsyncExitStack) -> RateLimits:
    counters = LimitsRateCounters(config.redis_url, namespace=_NAMESPACE)
    stack.push_async_callback(counters.aclose)
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    allowances = {
        Rate.COST: Allowance(points=config.cost_per_minute, period=minute),
        Rate.GENERATE: Allowance(points=config.generations_per_minute, period=minute),
        Rate.SIGN_IN: Allowance(points=config.sign_ins_per_minute, period=minute),
        Rate.SIGN_UP: Allowance(points=config.sign_ups_per_hour, period=hour),
    }
    return RateLimits(counters=counters, allowances=allowances, clock=utc_now)


def accounts_of(
    config: Config,
    store: Store,
    tokens: AccessTokens,
    signing_keys: SigningKeyService,
    stack: AsyncExitStack,
) -> tuple[AuthenticationService, AccountLinkService]:
    passwords = Argon2Passwords()
    stack.callback(passwords.close)
    password_rules = PasswordRules(min_chars=config.password_min_chars, common=common_passwords())
    sign_ins = SignIns(
        tokens=tokens,
        lifetimes=Lifetimes(
            access_token=timedelta(seconds=config.access_token_ttl_seconds),
            session_idle=timedelta(days=config.refresh_token_idle_days),
            session_absolute=timedelta(days=config.refresh_token_absolute_days),
        ),
        clock=utc_now,
        new_id=uuid7,
    )
    authentication = AuthenticationService(
        store=store,
        passwords=passwords,
        password_rules=password_rules,
        keys=signing_keys,
        sign_ins=sign_ins,
        sign_up=SignUp(store=store, configured=config.sign_up_policy),
        clock=utc_now,
        new_id=uuid7,
    )
    account_links = AccountLinkService(
        store=store,
        passwords=passwords,
        password_rules=password_rules,
        sign_ins=sign_ins,
        origin=config.origin,
        clock=utc_now,
        new_id=uuid7,
    )
    return authentication, account_links


async def signing_keys_of(config: Config, store: Store, cipher: Cipher) -> tuple[AccessTokens, SigningKeyService]:
    """What signs access tokens with the keys of the database, and what keeps these keys."""
    ring = SealedAccessTokens(cipher, issuer=config.origin, audience=f"{config.origin}/graphql")
    keys = SigningKeyService(
        store=store,
        ring=ring,
        clock=utc_now,
        rotated_every=timedelta(days=config.signing_key_days),
        token_ttl=timedelta(seconds=config.access_token_ttl_seconds),
    )
    await keys.open()
    return ring, keys


def _notion_oauth(config: Config) -> NotionOAuthAdapter | None:
    if config.notion_oauth_client_id is None or config.notion_oauth_client_secret is None:
        return None
    return NotionOAuthAdapter(
        base_url=config.notion_base_url,
        client_id=config.notion_oauth_client_id,
        client_secret=config.notion_oauth_client_secret,
        redirect_uri=config.notion_redirect_uri,
    )


def _server_keys(config: Config) -> dict[str, Secret]:
    keys = {
        ProviderKind.OPENAI.value: config.openai_api_key,
        ProviderKind.ANTHROPIC.value: config.anthropic_api_key,
        ProviderKind.DEEPSEEK.value: config.deepseek_api_key,
    }
    return {provider: key for provider, key in keys.items() if key is not None}


def cipher_of(keys: Sequence[EncryptionKey], reread: ReadKeys | None = None) -> AesGcmCipher:
    def ring(keys: Sequence[EncryptionKey]) -> Keyring:
        return {key.id: key.material for key in keys}, keys[0].id

    opening, active = ring(keys)
    return AesGcmCipher(opening, active=active, reread=None if reread is None else lambda: ring(reread()))


async def check_keys(store: Store, keys: Sequence[EncryptionKey]) -> None:
    """Raises StartupError when something is stored that none of the keys opens."""
    if unknown := await find_unknown_keys(store, [key.id for key in keys]):
        named = ", ".join(sorted(unknown))
        raise StartupError(
            f"Stored secrets are sealed with encryption keys that this server does not have ({named}): "
            "give them back in ENCRYPTION_KEYS, behind the active one, or restore the file secrets.json in DATA_DIR."
        )


def kept_keys(config: Config) -> ReadKeys | None:
    """How a running server learns of a key that rotate-encryption-key has made; configured keys stay as they are."""
    if config.database_url is not None:
        return None
    last = configured_keys(config)

    def read() -> Sequence[EncryptionKey]:
        nonlocal last
        try:
            last = configured_keys(config)
        except StartupError as error:
            _log.error("encryption_keys_unreadable", reason=str(error))
        return last

    return read


def _answer_cache(config: Config, stack: AsyncExitStack) -> AnswerCache | None:
    """Where answers are kept for those who ask the same again; None for nowhere."""
    ttl = timedelta(seconds=config.answer_cache_ttl_seconds)
    if not ttl:
        return None
    if config.redis_url is None:
        return MemoryAnswerCache(max_bytes=config.answer_cache_max_bytes, ttl=ttl, clock=utc_now)
    cache = RedisAnswerCache(config.redis_url, namespace=_NAMESPACE, ttl=ttl)
    stack.push_async_callback(cache.aclose)
    return cache


def _budget_rules(config: Config) -> BudgetRules:
    limits = {
        (Role.USER, BudgetPeriod.DAY): config.budget_user_day_usd,
        (Role.USER, BudgetPeriod.MONTH): config.budget_user_month_usd,
        (Role.ADMIN, BudgetPeriod.DAY): config.budget_admin_day_usd,
        (Role.ADMIN, BudgetPeriod.MONTH): config.budget_admin_month_usd,
    }
    return BudgetRules(
        limits={key: limit for key, limit in limits.items() if limit is not None},
        unpriced=config.budget_unpriced,
        reserved_output_tokens=config.budget_output_tokens,
    )


def configured_keys(config: Config) -> tuple[EncryptionKey, ...]:
    return encryption_keys(config.encryption_keys, data_dir=config.data_dir, is_embedded=config.database_url is None)


def utc_now() -> datetime:
    return datetime.now(UTC)
