"""The command line: to serve, and what an operator does beside it."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from getpass import getpass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import structlog
from uuid_utils.compat import uuid7

from composition import (
    VERSION,
    Assistant,
    accounts_of,
    assistant,
    check_keys,
    cipher_of,
    configured_keys,
    kept_keys,
    signing_keys_of,
    utc_now,
)
from domain.authentication import AuthenticationService
from domain.books import Balance
from domain.errors import AssistantError, Conflict
from domain.key_rotation import KeyRotation
from domain.notion_webhook_service import HANDSHAKE_WINDOW, NotionWebhookService
from domain.worker import Round
from ops.config import Config, ConfigError, Environment, load_config
from ops.embedded_postgres import EmbeddedPostgres, embedded_postgres, running_url
from ops.errors import StartupError
from ops.lifecycle import Lifecycle, collect_garbage_rarely, run, serve
from ops.listening import listen, port_of
from ops.logging import configure_logging
from ops.production import ensure_fit
from ops.secrets_file import add_key
from persistence.engine import create_engine
from persistence.faults import DatabaseUnavailable
from persistence.migrate import upgrade
from persistence.store import PostgresStore
from schema.root import export_sdl

_ADMIN_USERNAME: Final = "admin"
_ADMIN_EMAIL: Final = "admin@localhost.localdomain"
_ADMIN_PASSWORD_BYTES: Final = 18
_HANDSHAKE_POLL_SECONDS: Final = 0.5
_COMMANDS_POOL_SIZE: Final = 2
_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "::1", "0.0.0.0", "::", "localhost"})  # noqa: S104  (only compared)

_log = structlog.get_logger("main")


async def _serve(config: Config, lifecycle: Lifecycle) -> None:
    """From nothing to serving: socket, database, migrations, workers; and back again."""
    ensure_fit(config)
    sockets = listen(config.host, config.port)
    async with AsyncExitStack() as stack:
        for each in sockets:
            stack.callback(each.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        if config.database_url is None:
            _say("Starting the embedded PostgreSQL")
            postgres = await stack.enter_async_context(embedded_postgres(config.data_dir))
            watcher = group.create_task(_stop_with(postgres, lifecycle))
            stack.callback(watcher.cancel)
            database_url = postgres.url
        else:
            database_url = config.database_url.reveal()
        keys = configured_keys(config)
        _say("Bringing the database up to date")
        await asyncio.to_thread(upgrade, database_url)
        running = await stack.enter_async_context(
            assistant(
                config,
                database_url=database_url,
                keys=keys,
                reread_keys=kept_keys(config),
                lifecycle=lifecycle,
            )
        )
        collect_garbage_rarely()
        password = await _ensure_administrator(config, running.services.authentication)

        def on_serving() -> None:
            _greet(config, port_of(sockets), password)
            stack.callback(group.create_task(_warm_up(running)).cancel)

        await serve(
            running.app,
            lifecycle=lifecycle,
            sockets=sockets,
            on_serving=on_serving,
            on_drain=running.drain,
            drain_timeout_seconds=config.drain_timeout_seconds,
            trusted_proxies=config.trusted_proxies,
            websocket_ping_seconds=config.websocket_ping_seconds,
        )


async def _warm_up(running: Assistant) -> None:
    """The first person who asks does not wait for what only the first call loads; who asks is told of faults."""
    with Round("warm_up"):
        await running.warm_up()


async def _stop_with(postgres: EmbeddedPostgres, lifecycle: Lifecycle) -> None:
    """A server without its database is of no use: ends it, so that whatever supervises it starts both anew."""
    await postgres.wait_until_gone()
    if not lifecycle.is_draining:
        raise StartupError("The embedded PostgreSQL has ended; its log is in the folder `postgres` under DATA_DIR.")


async def _ensure_administrator(config: Config, authentication: AuthenticationService) -> str | None:
    """Makes the first start's administrator; its password, to be shown once. Production wants one made by hand."""
    if config.environment is Environment.PRODUCTION:
        if await authentication.has_unchanged_password(_ADMIN_EMAIL):
            raise StartupError(
                f"ENVIRONMENT is production, but {_ADMIN_USERNAME} still has the password that the first start made: "
                "start once with ENVIRONMENT=development and change it (changePassword)."
            )
        if not await authentication.has_administrator():
            raise StartupError(
                "ENVIRONMENT is production, but there is no administrator: make one with "
                "`.venv/bin/python main.py create-admin --email … --username …`."
            )
    if await authentication.has_administrator():
        return None
    password = secrets.token_urlsafe(_ADMIN_PASSWORD_BYTES)
    try:
        await authentication.create_administrator(email=_ADMIN_EMAIL, username=_ADMIN_USERNAME, password=password)
    except Conflict:
        return None  # Another instance was started at the same moment, and has shown its own.
    return password


def _greet(config: Config, port: int, password: str | None) -> None:
    address = config.public_url or f"http://{'localhost' if config.host in _LOCAL_HOSTS else config.host}:{port}"
    _say(f"Ready at {address} (playground), {address}/graphql (API). Ctrl-C stops.")
    if password is not None:
        _say(
            f"An administrator was made. Its password is shown only now:\n\n"
            f"    username  {_ADMIN_USERNAME}\n    password  {password}\n"
        )
    _log.info("serving", port=port, version=VERSION)


def _say(sentence: str) -> None:
    """For the person at the terminal; events for programs go to the log."""
    print(sentence, flush=True)  # noqa: T201  (the command line's own output)


async def _migrate(config: Config) -> None:
    async with _database(config) as database_url:
        await asyncio.to_thread(upgrade, database_url)
    _say("The database is up to date.")


async def _create_administrator(config: Config, *, email: str, username: str, password: str) -> None:
    async with _store(config) as store, AsyncExitStack() as stack:
        cipher = cipher_of(configured_keys(config))
        authentication, _ = accounts_of(config, store, *await signing_keys_of(config, store, cipher), stack)
        await authentication.create_administrator(email=email, username=username, password=password)
    _say(f"The administrator {username} was made.")


async def _rotate_signing_key(config: Config, *, is_compromised: bool) -> None:
    async with _store(config) as store:
        _, signing_keys = await signing_keys_of(config, store, cipher_of(configured_keys(config)))
        if is_compromised:
            await signing_keys.replace_all()
            _say("A new key signs from now on. All access tokens are refused, and clients refresh them.")
        else:
            await signing_keys.rotate()
            _say("The next key signs from now on. Tokens of the key before stay good until they run out.")


async def _rotate_encryption_key(config: Config) -> None:
    """Wraps everything under the active key; in the data folder a new one is made first, unless one waits for that."""
    async with _store(config) as store:
        keys = configured_keys(config)
        await check_keys(store, keys)
        rotation = KeyRotation(store=store, cipher=cipher_of(keys))
        to_do = await rotation.count_to_do()
        if to_do == 0 and config.database_url is None and not config.encryption_keys:
            added = await asyncio.to_thread(add_key, config.data_dir)
            _say(f"The encryption key {added.id} was made in {config.data_dir}. Put the folder into a backup.")
            rotation = KeyRotation(store=store, cipher=cipher_of((added, *keys)))
            to_do = await rotation.count_to_do()
        result = await rotation.run(lambda done: _say(f"{done} of {max(done, to_do)} secrets"))
    if result.left:
        raise StartupError(
            f"{result.left} secrets are still sealed with another key than {result.key_id}: run this once more, and if "
            "the number stays, they do not open and their owners have to enter them again."
        )
    _say(f"Everything is sealed with {result.key_id}. Older keys are needed only for backups made before.")


async def take_webhook(config: Config, *, forget: bool) -> None:
    """Waits for the verification token that Notion sends when a webhook subscription is made, and shows it once."""
    async with _store(config) as store, AsyncExitStack() as stack:
        cipher = cipher_of(configured_keys(config))
        webhooks = NotionWebhookService(store=store, cipher=cipher, clock=utc_now, new_id=uuid7, wake=lambda: None)
        if forget:
            _say(f"Verification tokens forgotten: {await webhooks.forget_tokens()}. No event is believed any more.")
            return
        window_id = await webhooks.open_window()
        stack.push_async_callback(webhooks.close_window, window_id)
        _say(
            f"In Notion, at your integration's settings under Webhooks, create a subscription to "
            f"{config.origin}/notion/webhook, for the events of pages, databases and data sources.\n"
            f"Waiting for Notion, for {HANDSHAKE_WINDOW.total_seconds() / 60:g} minutes at most …"
        )
        try:
            async with asyncio.timeout(HANDSHAKE_WINDOW.total_seconds()):
                while (token := await webhooks.find_token(window_id)) is None:  # noqa: ASYNC110  (another gets it)
                    await asyncio.sleep(_HANDSHAKE_POLL_SECONDS)
        except TimeoutError:
            raise StartupError(
                "Notion has sent no verification token: can it reach this server at that address?"
            ) from None
    _say(f"It has come. Enter it in Notion under Verify subscription; it is shown only now:\n\n    {token.reveal()}\n")


async def _reconcile(config: Config, balances: list[Balance], *, is_to_repair: bool) -> None:
    """Prints how the books stand; they are left in `balances`."""
    async with _store(config) as store, store.begin() as tx:
        if is_to_repair:
            await tx.books.repair()
        balances += await tx.books.compare()
    _say(f"{'USD':22}{'counted':>20}{'kept':>20}{'difference':>20}{'entries':>9}")
    for each in balances:
        difference = each.kept - each.counted
        _say(f"{each.name:22}{each.counted:>20f}{each.kept:>20f}{difference:>20f}{each.differing_count:>9}")
    if all(each.agrees for each in balances):
        _say("All entries agree.")
    else:
        _say("Some entries differ. `reconcile --repair` makes them anew of the calls to providers.")


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[PostgresStore]:
    """The configured database, brought up to date."""
    async with _database(config) as database_url:
        await asyncio.to_thread(upgrade, database_url)
        store = PostgresStore(create_engine(database_url, pool_size=_COMMANDS_POOL_SIZE))
        try:
            yield store
        finally:
            await store.dispose()


@asynccontextmanager
async def _database(config: Config) -> AsyncIterator[str]:
    """The configured database: an external one, that of a server which runs already, or the embedded one."""
    if config.database_url is not None:
        yield config.database_url.reveal()
    elif (url := running_url(config.data_dir)) is not None:
        yield url
    else:
        async with embedded_postgres(config.data_dir) as postgres:
            yield postgres.url


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="main.py", description="Notion Assistant: a self-hosted GraphQL server.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="migrate the database and serve (the default)")
    commands.add_parser("migrate", help="bring the database up to date, and no more")
    webhook = commands.add_parser("notion-webhook", help="wait for the token that verifies a webhook subscription")
    webhook.add_argument("--forget", action="store_true", help="believe no subscription any more, instead")
    admin = commands.add_parser("create-admin", help="make an administrator's account")
    admin.add_argument("--email", required=True)
    admin.add_argument("--username", required=True)
    commands.add_parser(
        "rotate-encryption-key", help="seal everything with a new key, or with the first of ENCRYPTION_KEYS"
    )
    rotation = commands.add_parser("rotate-signing-key", help="have the next key sign access tokens")
    rotation.add_argument(
        "--compromised", action="store_true", help="a new key at once, and refuse what all others have signed"
    )
    reconcile = commands.add_parser(
        "reconcile", help="compare costs, spending and reservations with the calls they come from; 1 if they differ"
    )
    reconcile.add_argument("--repair", action="store_true", help="make the sums anew of what they are the sums of")
    commands.add_parser("export-schema", help="print the GraphQL schema")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Runs a command and returns the process's exit code; what is wrong is told in one sentence."""
    chosen = _arguments(arguments)
    if chosen.command == "export-schema":
        _say(export_sdl().rstrip())
        return 0
    try:
        config = load_config()
    except ConfigError as error:
        return _fail(error.sentences)
    configure_logging(level=config.log_level, log_format=config.log_format)
    try:
        match chosen.command:
            case "migrate":
                return run(lambda _: _migrate(config))
            case "rotate-encryption-key":
                return run(lambda _: _rotate_encryption_key(config))
            case "rotate-signing-key":
                return run(lambda _: _rotate_signing_key(config, is_compromised=chosen.compromised))
            case "reconcile":
                balances: list[Balance] = []
                code = run(lambda _: _reconcile(config, balances, is_to_repair=chosen.repair))
                return code or int(not all(each.agrees for each in balances))
            case "create-admin":
                password = getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
                return run(
                    lambda _: _create_administrator(
                        config, email=chosen.email, username=chosen.username, password=password
                    )
                )
            case "notion-webhook":
                return run(lambda _: take_webhook(config, forget=chosen.forget))
            case _:
                return run(lambda lifecycle: _serve(config, lifecycle))
    except Exception as error:
        sentences = _sentences_of(error, config)
        if not sentences:
            raise
        return _fail(sentences)


def _fail(sentences: Sequence[str]) -> int:
    """Tells the person at the terminal what is wrong; the process's exit code."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)  # noqa: T201  (the command line's own output)
    return 2


def _sentences_of(error: Exception, config: Config) -> list[str]:
    """What is wrong, when it is something that the operator can put right; nothing for a fault of the program."""
    match error:
        case ConfigError():
            return list(error.sentences)
        case StartupError():
            return [str(error)]
        case DatabaseUnavailable():
            return [f"{_database_of(config)}. {error.message}"]
        case AssistantError():
            return [error.message]
        case ExceptionGroup():
            parts = [_sentences_of(each, config) for each in error.exceptions]
            return [sentence for part in parts for sentence in part] if all(parts) else []
        case _:
            return []


def _database_of(config: Config) -> str:
    """A sentence on which database is meant, without its user and password."""
    if config.database_url is None:
        return f"The database is in {config.data_dir / 'postgres'}"
    address = urlsplit(config.database_url.reveal())
    servers = [address.netloc.rpartition("@")[2], *parse_qs(address.query).get("host", ())]
    return f"DATABASE_URL names the database {unquote(address.path[1:])} at {', '.join(filter(None, servers))}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
