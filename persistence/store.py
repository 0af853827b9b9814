"""The store on PostgreSQL: one transaction for each unit of work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from persistence.access_token import PostgresPersonalAccessTokens
from persistence.account import PostgresSessions, PostgresSigningKeys, PostgresUsers
from persistence.account_link import PostgresAccountLinks
from persistence.audit import PostgresAuditLog
from persistence.books import PostgresBooks
from persistence.budget import PostgresBudgets
from persistence.faults import translated_faults
from persistence.generation import PostgresGenerations
from persistence.notion import PostgresNotionAuthorizations, PostgresNotionConnections
from persistence.notion_base import PostgresNotionBases
from persistence.notion_pace import PostgresNotionPaces
from persistence.notion_webhook import PostgresNotionWebhooks
from persistence.periodic import PostgresPeriodicSlots
from persistence.provider import PostgresApiKeys, PostgresProviders
from persistence.provider_attempt import PostgresProviderAttempts
from persistence.publication import PostgresPublications
from persistence.server_settings import PostgresServerSettings
from persistence.settings import PostgresSettingsOfUsers
from persistence.sign_in_attempts import PostgresSignInAttempts
from persistence.statements import Statements
from persistence.stored_secrets import PostgresStoredSecrets
from persistence.tracked_page import PostgresTrackedPages
from persistence.usage import PostgresUsageReports
from persistence.user_directory import PostgresUserDirectory


class PostgresTransaction:
    """Behind the port Transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        statements = Statements(connection)
        self.users = PostgresUsers(statements)
        self.user_directory = PostgresUserDirectory(statements)
        self.sessions = PostgresSessions(statements)
        self.access_tokens = PostgresPersonalAccessTokens(statements)
        self.account_links = PostgresAccountLinks(statements)
        self.sign_in_attempts = PostgresSignInAttempts(statements)
        self.signing_keys = PostgresSigningKeys(statements)
        self.providers = PostgresProviders(statements)
        self.api_keys = PostgresApiKeys(statements)
        self.generations = PostgresGenerations(statements)
        self.provider_attempts = PostgresProviderAttempts(statements)
        self.publications = PostgresPublications(statements)
        self.notion_bases = PostgresNotionBases(statements)
        self.tracked_pages = PostgresTrackedPages(statements)
        self.notion_paces = PostgresNotionPaces(statements)
        self.notion_connections = PostgresNotionConnections(statements)
        self.notion_authorizations = PostgresNotionAuthorizations(statements)
        self.notion_webhooks = PostgresNotionWebhooks(statements)
        self.settings = PostgresSettingsOfUsers(statements)
        self.budgets = PostgresBudgets(statements)
        self.usage_reports = PostgresUsageReports(statements)
        self.books = PostgresBooks(statements)
        self.server_settings = PostgresServerSettings(statements)
        self.periodic_slots = PostgresPeriodicSlots(statements)
        self.stored_secrets = PostgresStoredSecrets(statements)
        self.audit = PostgresAuditLog(statements)


class PostgresStore:
    """Behind the port Store."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresTransaction]:
        """Commits on a clean exit, rolls back on any error. Raises Unavailable when the database cannot be reached."""
        async with AsyncExitStack() as stack:
            with translated_faults():
                connection = await stack.enter_async_context(self._engine.connect())
            yield PostgresTransaction(connection)
            with translated_faults():
                await connection.commit()

    async def ping(self) -> None:
        """Asks the database for a sign of life. Raises Unavailable."""
        async with AsyncExitStack() as stack:
            with translated_faults():
                connection = await stack.enter_async_context(self._engine.connect())
            await Statements(connection).row(select(literal(1)))

    @property
    def connections_in_use(self) -> int:
        """How many connections are held by units of work at this moment."""
        return self._pool.checkedout()

    @property
    def connections_max(self) -> int:
        """How many there can be."""
        return self._pool.size()

    async def dispose(self) -> None:
        """Closes the connections that are not in use."""
        await self._engine.dispose()

    @property
    def _pool(self) -> QueuePool:
        pool = self._engine.pool
        if not isinstance(pool, QueuePool):
            raise TypeError("The store needs an engine with a bounded pool, as create_engine makes it.")
        return pool
