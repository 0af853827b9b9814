"""What a resolver can reach: who asks, from where, the services, and loaders that fetch for whole lists at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar
from uuid import UUID

import strawberry
from strawberry.dataloader import DataLoader

from domain.access_token_service import AccessTokenService
from domain.account import Client, User, Viewer
from domain.account_link_service import AccountLinkService
from domain.administration import AdministrationService
from domain.api_key_service import ApiKeyService
from domain.authentication import AuthenticationService
from domain.budget_service import BudgetService
from domain.errors import Conflict, Unauthenticated
from domain.generation import Generation, Transcript
from domain.generation_service import GenerationService
from domain.maintenance import Maintenance
from domain.notion_authorization_service import NotionAuthorizationService
from domain.notion_parents import NotionParents
from domain.notion_service import NotionService
from domain.page_sync import PageVersion
from domain.page_sync_service import PageSyncService
from domain.privacy import PrivacyService
from domain.provider import Provider
from domain.provider_attempt import ProviderAttempt
from domain.provider_catalog import OfferedProvider, ProviderCatalog
from domain.provider_service import ProviderService
from domain.publication import Publication
from domain.publication_service import PublicationService
from domain.rate_limit import Rate, RateLimits
from domain.session_service import SessionService
from domain.settings_service import SettingsService
from domain.sign_in import SignIn
from domain.sign_up import SignUp
from domain.usage_service import UsageService
from resolvers.session_cookies import CookieSession, cookies_of, forgotten_cookies

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that can be asked of this server, made once and shared by all requests."""

    version: str
    authentication: AuthenticationService
    generations: GenerationService
    publications: PublicationService
    page_sync: PageSyncService
    budgets: BudgetService
    usage: UsageService
    notion: NotionService
    notion_authorizations: NotionAuthorizationService
    notion_parents: NotionParents
    providers: ProviderCatalog
    provider_administration: ProviderService
    api_keys: ApiKeyService
    settings: SettingsService
    rates: RateLimits
    sessions: SessionService
    account_links: AccountLinkService
    access_tokens: AccessTokenService
    administration: AdministrationService
    privacy: PrivacyService
    maintenance: Maintenance
    sign_up: SignUp
    is_schema_open: bool = False
    offers_cookie_sessions: bool = False
    is_draining: Callable[[], bool] = lambda: False


class Loaders:
    """One operation's loaders.

    They gather what is asked for at the same moment but remember nothing: a later mutation of the same operation, or
    the next event of a subscription, must see things as they are by then.
    """

    def __init__(self, services: Services, viewer: Callable[[], Viewer]) -> None:
        self._services = services
        self._viewer = viewer

    @cached_property
    def transcripts(self) -> DataLoader[UUID, Transcript | None]:
        """The long texts of a generation, by its id."""
        return _loader(lambda ids: self._services.generations.transcripts(self._viewer(), ids))

    @cached_property
    def attempts(self) -> DataLoader[UUID, tuple[ProviderAttempt, ...] | None]:
        """The calls to providers for a generation, by its id."""
        return _loader(lambda ids: self._services.generations.attempts(self._viewer(), ids))

    @cached_property
    def generations(self) -> DataLoader[UUID, Generation | None]:
        """The viewer's generations, by id."""
        return _loader(lambda ids: self._services.generations.find_many(self._viewer(), ids))

    @cached_property
    def users(self) -> DataLoader[UUID, User | None]:
        """Accounts, for administrators, by id."""
        return _loader(self._services.administration.find_users)

    @cached_property
    def publications(self) -> DataLoader[UUID, Publication | None]:
        """A generation's publication, by the generation's id."""
        return _loader(lambda ids: self._services.publications.by_generation(self._viewer(), ids))

    @cached_property
    def versions(self) -> DataLoader[tuple[UUID, int], PageVersion | None]:
        """Versions of pages, by our id of the page and their number."""
        return _loader(lambda numbers: self._services.page_sync.find_versions(self._viewer(), numbers))

    @cached_property
    def version_contents(self) -> DataLoader[UUID, str | None]:
        """What versions say, by their id."""
        return _loader(lambda ids: self._services.page_sync.contents(self._viewer(), ids))

    @cached_property
    def providers(self) -> DataLoader[str, Provider | None]:
        """Active providers, by id."""

        async def load(ids: Sequence[str]) -> dict[str, Provider]:
            found = {id_: await self._services.providers.find_provider(id_) for id_ in ids}
            return {id_: provider for id_, provider in found.items() if provider is not None}

        return _loader(load)

    @cached_property
    def offers(self) -> DataLoader[str, OfferedProvider | None]:
        """Active providers as the viewer can use them, by id."""

        async def load(_: Sequence[str]) -> dict[str, OfferedProvider]:
            offered = await self._services.providers.list_offered(self._viewer())
            return {each.provider.id: each for each in offered}

        return _loader(load)


@dataclass(slots=True, kw_only=True)
class Context:
    """The surroundings of one operation. `viewer` changes when the operation itself signs somebody in.

    `cost` is what the operation was weighed at before it was run.
    """

    viewer: Viewer | None
    client: Client
    request_id: str
    services: Services
    cost: int = 0
    # Set-Cookie headers of the answer; None where an answer has no headers of its own any more.
    cookies: list[str] | None = None
    # What was brought of a sign-in that is kept in cookies; None where the client keeps its tokens itself.
    cookie_session: CookieSession | None = None
    # Why nobody is signed in, where somebody was.
    refusal: Unauthenticated | None = None
    # The mutations of one operation run one after the other.
    has_begun: bool = False
    # What a mutation that was too much has answered.
    retry_after_seconds: int | None = None
    # What bounds the operation on a stream.
    patience: asyncio.Timeout | None = None
    # Set where it is a subscription.
    lasts: asyncio.Event = field(default_factory=asyncio.Event)
    loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.services, self.require_viewer)

    @property
    def may_inspect(self) -> bool:
        """Whether the caller is told what the schema has: introspection, and what a wrong name may have meant."""
        return self.viewer is not None or self.services.is_schema_open

    def wait_for_events(self) -> None:
        """Lets the operation, a subscription, last as long as it likes."""
        self.lasts.set()
        if self.patience is not None:
            self.patience.reschedule(None)

    def ensure_open(self) -> None:
        """Raises RateLimited for a caller who was told a moment ago to come back later."""
        self.services.rates.ensure_open(self.viewer, self.client)

    async def spend(self, rate: Rate, *, points: int = 1) -> None:
        """Counts what is done for the caller. Raises RateLimited when it is too much."""
        await self.services.rates.take(rate, self.viewer, self.client, points=points)

    async def begin_mutation(self) -> bool:
        """Before each mutation of an operation: whether others were before it, so that the viewer is looked at anew.

        Those may have waited for minutes, and who has lost a right meanwhile is without it. Raises Unauthenticated.
        """
        is_later, self.has_begun = self.has_begun, True
        if is_later and self.viewer is not None:
            viewer, self.viewer = self.viewer, None
            try:
                self.viewer = await self.services.authentication.renew(viewer)
            except Unauthenticated as failure:
                self.refusal = failure
                raise
        return is_later

    def require_viewer(self) -> Viewer:
        """Who asks. Raises Unauthenticated when nobody is signed in."""
        if self.viewer is None:
            raise self.refusal or Unauthenticated("Sign in first.")
        return self.viewer

    async def sign_in(self, sign_in: Callable[[], Awaitable[SignIn]]) -> SignIn:
        """Signs in, and lets the rest of the operation, and the browser's cookies, speak for whom that was.

        Raises Conflict, before anything is done, where the cookies could not be set.
        """
        if self.cookie_session is not None and self.cookies is None:
            raise Conflict("Send this as an ordinary POST: its answer sets cookies, which a stream cannot.")
        done = await sign_in()
        self.viewer = Viewer(user=done.user, session_id=done.session_id, authenticated_until=done.expires_at)
        self.refusal = None
        if self.cookie_session is not None:
            self._set_cookies(cookies_of(done))
        return done

    def forget_viewer(self) -> None:
        """Nobody is signed in any more; a browser that keeps the sign-in in cookies is told so."""
        self.viewer = None
        self.refusal = None
        if self.cookie_session is not None:
            self._set_cookies(forgotten_cookies())

    def _set_cookies(self, cookies: Sequence[str]) -> None:
        if self.cookies is None:
            return  # Signed out on a stream: what the browser keeps is of no use any more.
        names = {each.partition("=")[0] for each in cookies}
        self.cookies = [each for each in self.cookies if each.partition("=")[0] not in names] + list(cookies)


Info = strawberry.Info[Context, None]


def new_context(services: Services, viewer: Viewer | None, client: Client, request_id: str) -> Context:
    """The context of one operation."""
    return Context(viewer=viewer, client=client, request_id=request_id, services=services)


def _loader(load: Callable[[Sequence[K]], Awaitable[dict[K, V]]]) -> DataLoader[K, V | None]:
    async def in_order(keys: list[K]) -> list[V | None]:
        found = await load(list(dict.fromkeys(keys)))
        return [found.get(key) for key in keys]

    return DataLoader(load_fn=in_order, cache=False)
