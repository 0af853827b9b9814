"""What each mutation answers: what came of it, and why nothing or not all was done."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.access_token_service import NewAccessToken
from domain.account_link_service import NewAccountLink
from domain.notion_authorization_service import StartedAuthorization
from domain.sign_in import SignIn
from resolvers import access_token as resolve_access_token
from resolvers import account as resolve_account
from resolvers import account_link as resolve_account_link
from resolvers import notion as resolve_notion
from schema.access_token import AccessToken
from schema.account import BudgetLimit, User
from schema.account_link import AccountLink
from schema.administration import DeletedData
from schema.api_key import ApiKey, ApiKeyTest
from schema.generation import Generation
from schema.notion import NotionConnection
from schema.payload import Payload
from schema.provider import Provider
from schema.publication import NotionPage, Publication
from schema.server import Server
from schema.session import Session
from schema.settings import UserSettings


@strawberry.type(description="A sign-in's outcome; everything but `errors` is null after a failure.")
class SessionPayload(Payload):
    sign_in: strawberry.Private[SignIn | None]
    access_token = strawberry.field(
        resolver=resolve_account.access_token,
        graphql_type=str | None,
        description="Sent as `Authorization: Bearer …` with every request, and in connection_init over WebSocket; null "
        "for a client that has asked for cookies (`X-Session: cookie`), which hold it instead.",
    )
    refresh_token = strawberry.field(
        resolver=resolve_account.refresh_token,
        graphql_type=str | None,
        description="Exchanged by refreshSession for the next pair; used again after 10 seconds, it ends the session. "
        "Null where a cookie holds it.",
    )
    expires_at = strawberry.field(
        resolver=resolve_account.expires_at,
        graphql_type=datetime | None,
        description="When the access token stops being accepted.",
    )
    user = strawberry.field(
        resolver=resolve_account.signed_in_user, graphql_type=User | None, description="Who is signed in."
    )


@strawberry.type(description="A sign-out's outcome.")
class LogoutPayload(Payload): ...


@strawberry.type(description="The outcome for a new link; everything but `errors` is null after a failure.")
class AccountLinkPayload(Payload):
    made: strawberry.Private[NewAccountLink | None]
    secret = strawberry.field(
        resolver=resolve_account_link.link_secret,
        graphql_type=str | None,
        description="What the link is used by, once. It is shown only now.",
    )
    url = strawberry.field(
        resolver=resolve_account_link.link_url,
        graphql_type=str | None,
        description="The link to hand over: the server's address with the secret after its `#`.",
    )
    expires_at = strawberry.field(
        resolver=resolve_account_link.link_expires_at, graphql_type=datetime | None, description="When it runs out."
    )
    link = strawberry.field(
        resolver=resolve_account_link.made_link,
        graphql_type=AccountLink | None,
        description="The link, as it is listed and can be withdrawn.",
    )


@strawberry.type(description="The outcome of a link's withdrawal.")
class WithdrawAccountLinkPayload(Payload):
    withdrawn_id: strawberry.ID | None = strawberry.field(description="What was withdrawn; null after a failure.")


@strawberry.type(description="The outcome for the viewer's sessions.")
class SessionsPayload(Payload):
    sessions: list[Session] | None = strawberry.field(
        description="The sessions that are left, none if the viewer's own was ended; null after a failure."
    )


@strawberry.type(description="The outcome for a new token.")
class CreateAccessTokenPayload(Payload):
    made: strawberry.Private[NewAccessToken | None]
    access_token = strawberry.field(
        resolver=resolve_access_token.made_token,
        graphql_type=AccessToken | None,
        description="The token; null after a failure.",
    )
    secret = strawberry.field(
        resolver=resolve_access_token.made_secret,
        graphql_type=str | None,
        description="What requests are authenticated with. It is shown only now; null after a failure.",
    )


@strawberry.type(description="The outcome for the viewer's tokens.")
class AccessTokensPayload(Payload):
    access_tokens: list[AccessToken] | None = strawberry.field(
        description="The tokens that are left; null after a failure."
    )


@strawberry.type(description="The outcome of a change of settings.")
class SettingsPayload(Payload):
    settings: UserSettings | None = strawberry.field(description="The settings as they are now; null after a failure.")


@strawberry.type(description="The outcome for one key.")
class ApiKeyPayload(Payload):
    api_key: ApiKey | None = strawberry.field(description="The key; null after a failure.")


@strawberry.type(description="The outcome of a key's trial.")
class TestApiKeyPayload(Payload):
    test: ApiKeyTest | None = strawberry.field(description="What the provider says; null after a failure.")


@strawberry.type(description="The outcome for the viewer's keys.")
class ApiKeysPayload(Payload):
    api_keys: list[ApiKey] | None = strawberry.field(description="The keys that are left; null after a failure.")


@strawberry.type(description="The outcome for one provider.")
class ProviderPayload(Payload):
    provider: Provider | None = strawberry.field(description="The provider as it is now; null after a failure.")


@strawberry.type(description="The outcome of a provider's removal.")
class RemoveProviderPayload(Payload):
    removed_id: strawberry.ID | None = strawberry.field(description="What has been removed; null after a failure.")


@strawberry.type(description="The outcome for one generation.")
class GenerationPayload(Payload):
    generation: Generation | None = strawberry.field(description="The generation; null after a failure.")


@strawberry.type(description="The outcome of a deletion.")
class DeletePayload(Payload):
    deleted_ids: list[strawberry.ID] = strawberry.field(
        description="What has been deleted. What still runs, or is not the viewer's, is not among it."
    )


@strawberry.type(description="The outcome for one publication.")
class PublicationPayload(Payload):
    publication: Publication | None = strawberry.field(description="The publication; null after a failure.")


@strawberry.type(description="The outcome for one page in Notion.")
class NotionPagePayload(Payload):
    page: NotionPage | None = strawberry.field(description="The page as it is now; null after a failure.")


@strawberry.type(description="The outcome for the link to Notion.")
class NotionConnectionPayload(Payload):
    notion: NotionConnection | None = strawberry.field(description="The link as it is now; null when there is none.")


@strawberry.type(description="The beginning of a sign-in at Notion; everything but `errors` is null after a failure.")
class NotionAuthorizationPayload(Payload):
    started: strawberry.Private[StartedAuthorization | None]
    authorize_url = strawberry.field(
        resolver=resolve_notion.authorize_url,
        graphql_type=str | None,
        description="Where to send the person's browser: the one that got this answer, and with it a cookie.",
    )
    expires_at = strawberry.field(
        resolver=resolve_notion.expires_at,
        graphql_type=datetime | None,
        description="Until when they must have come back.",
    )


@strawberry.type(description="The outcome of setting a budget.")
class BudgetPayload(Payload):
    limit: BudgetLimit | None = strawberry.field(description="What counts now; null after a failure.")


@strawberry.type(description="The outcome for one account.")
class UserPayload(Payload):
    user: User | None = strawberry.field(description="The account as it is now; null after a failure.")


@strawberry.type(description="The outcome of an account's deletion.")
class DeleteUserPayload(Payload):
    deleted: list[DeletedData] = strawberry.field(
        description="What has gone with it or, in a dry run, would go; empty after a failure."
    )


@strawberry.type(description="The outcome for the server.")
class ServerPayload(Payload):
    server: Server | None = strawberry.field(description="The server as it is now; null after a failure.")
