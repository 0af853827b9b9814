"""The unit of work: one transaction per domain operation, with the repositories that take part in it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from domain.access_token import PersonalAccessTokens
from domain.account import Sessions, SigningKeys, Users
from domain.account_link import AccountLinks
from domain.audit import AuditLog
from domain.books import Books
from domain.budget import Budgets
from domain.cipher import StoredSecrets
from domain.generation import Generations
from domain.notion import NotionConnections
from domain.notion_authorization import NotionAuthorizations
from domain.notion_base import NotionBases
from domain.notion_pace import NotionPaces
from domain.notion_webhook import NotionWebhooks
from domain.page_sync import TrackedPages
from domain.periodic import PeriodicSlots
from domain.provider import ApiKeys, Providers
from domain.provider_attempt import ProviderAttempts
from domain.publication import Publications
from domain.server_settings import ServerSettingsStore
from domain.settings import SettingsOfUsers
from domain.sign_in_attempts import SignInAttempts
from domain.usage import UsageReports
from domain.user_directory import UserDirectory


class Transaction(Protocol):
    """All repositories on one connection, inside one transaction."""

    @property
    def users(self) -> Users: ...
    @property
    def user_directory(self) -> UserDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def access_tokens(self) -> PersonalAccessTokens: ...
    @property
    def account_links(self) -> AccountLinks: ...
    @property
    def sign_in_attempts(self) -> SignInAttempts: ...
    @property
    def signing_keys(self) -> SigningKeys: ...
    @property
    def providers(self) -> Providers: ...
    @property
    def api_keys(self) -> ApiKeys: ...
    @property
    def generations(self) -> Generations: ...
    @property
    def provider_attempts(self) -> ProviderAttempts: ...
    @property
    def publications(self) -> Publications: ...
    @property
    def notion_bases(self) -> NotionBases: ...
    @property
    def tracked_pages(self) -> TrackedPages: ...
    @property
    def notion_paces(self) -> NotionPaces: ...
    @property
    def notion_connections(self) -> NotionConnections: ...
    @property
    def notion_authorizations(self) -> NotionAuthorizations: ...
    @property
    def notion_webhooks(self) -> NotionWebhooks: ...
    @property
    def settings(self) -> SettingsOfUsers: ...
    @property
    def budgets(self) -> Budgets: ...
    @property
    def usage_reports(self) -> UsageReports: ...
    @property
    def books(self) -> Books: ...
    @property
    def server_settings(self) -> ServerSettingsStore: ...
    @property
    def periodic_slots(self) -> PeriodicSlots: ...
    @property
    def stored_secrets(self) -> StoredSecrets: ...
    @property
    def audit(self) -> AuditLog: ...


class Store(Protocol):
    """Where everything is kept. No call to a provider or to Notion belongs inside `begin()`."""

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits on a clean exit, rolls back on any error. Raises Unavailable when the database cannot be reached."""
