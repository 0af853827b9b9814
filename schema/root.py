"""The schema: what can be asked, what can be done, what can be watched."""

from __future__ import annotations

from functools import partial
from typing import Final

import strawberry

from domain.access import Who
from domain.account import Scope
from domain.rate_limit import Rate
from resolvers import access_token as resolve_access_token
from resolvers import account as resolve_account
from resolvers import account_link as resolve_account_link
from resolvers import administration as resolve_administration
from resolvers import api_key as resolve_api_key
from resolvers import budget as resolve_budget
from resolvers import generation as resolve_generation
from resolvers import node as resolve_node
from resolvers import notion as resolve_notion
from resolvers import page_sync as resolve_page_sync
from resolvers import provider as resolve_provider
from resolvers import publication as resolve_publication
from resolvers import rate_limit as resolve_rate_limit
from resolvers import server as resolve_server
from resolvers import session as resolve_session
from resolvers import settings as resolve_settings
from resolvers import usage as resolve_usage
from resolvers.context import Services, new_context
from schema.access import ADMINISTER, ADMINISTER_IN_PERSON, ANYONE, GENERATE, MANAGE, PUBLISH, READ, SESSION, Access
from schema.access_token import AccessToken
from schema.account import BudgetLimit, User
from schema.account_link import AccountLinkConnection
from schema.administration import AuditConnection, UserConnection
from schema.api_key import ApiKey
from schema.budget import Estimate
from schema.enums import register_enums
from schema.executable import ExecutableSchema
from schema.generation import Generation, GenerationEvent
from schema.node import Node
from schema.payload import mutation
from schema.payloads import (
    AccessTokensPayload,
    AccountLinkPayload,
    ApiKeyPayload,
    ApiKeysPayload,
    BudgetPayload,
    CreateAccessTokenPayload,
    DeletePayload,
    DeleteUserPayload,
    GenerationPayload,
    LogoutPayload,
    NotionAuthorizationPayload,
    NotionConnectionPayload,
    NotionPagePayload,
    ProviderPayload,
    PublicationPayload,
    RemoveProviderPayload,
    ServerPayload,
    SessionPayload,
    SessionsPayload,
    SettingsPayload,
    TestApiKeyPayload,
    UserPayload,
    WithdrawAccountLinkPayload,
)
from schema.provider import Provider
from schema.publication import NotionPage, Publication, PublicationPreview
from schema.rate_limit import RateLimit
from schema.scalars import SCALARS
from schema.server import Server
from schema.session import Session
from schema.transport import NewContext
from schema.usage import UsageBucket


@strawberry.type(description="What can be asked.")
class Query:
    viewer = strawberry.field(
        resolver=resolve_account.viewer,
        graphql_type=User | None,
        directives=[Access(who=Who.ANYONE, scope=Scope.READ)],
        description="Who is signed in; null when nobody is.",
    )
    node = strawberry.field(
        resolver=resolve_node.node,
        graphql_type=Node | None,
        directives=[READ],
        description="Anything with an id; null for what does not exist or is not the viewer's.",
    )
    generation = strawberry.field(
        resolver=resolve_generation.generation,
        graphql_type=Generation | None,
        directives=[READ],
        description="A generation; null for one that does not exist or is not the viewer's.",
    )
    providers = strawberry.field(
        resolver=resolve_provider.providers,
        graphql_type=list[Provider],
        directives=[READ],
        description="The AI providers on offer, the preferred ones first.",
    )
    estimate = strawberry.field(
        resolver=resolve_budget.estimate,
        graphql_type=Estimate,
        directives=[READ],
        description="What a request would cost, before it runs: nothing is sent to any provider.",
    )
    usage = strawberry.field(
        resolver=resolve_usage.usage,
        graphql_type=list[UsageBucket],
        directives=[ADMINISTER],
        description="What everybody's calls to providers add up to, in at most 1,000 groups: the earliest day first, "
        "within it the costliest.",
    )
    role_budgets = strawberry.field(
        resolver=resolve_budget.role_budgets,
        graphql_type=list[BudgetLimit],
        directives=[ADMINISTER],
        description="The budgets of those who have none of their own, by role.",
    )
    publication_preview = strawberry.field(
        resolver=resolve_publication.publication_preview,
        graphql_type=PublicationPreview,
        directives=[PUBLISH],
        description="What publishing an answer would do, and what is wrong with it; nothing is written.",
    )
    server = strawberry.field(
        resolver=resolve_server.server,
        graphql_type=Server,
        directives=[ANYONE],
        description="This server; open to everyone.",
    )
    rate_limit = strawberry.field(
        resolver=resolve_rate_limit.rate_limit,
        graphql_type=RateLimit,
        directives=[ANYONE],
        description="What this operation costs, and what is left for more.",
    )
    users = strawberry.field(
        resolver=resolve_administration.users,
        graphql_type=UserConnection,
        directives=[ADMINISTER],
        description="All accounts, page by page. For administrators.",
    )
    account_links = strawberry.field(
        resolver=resolve_account_link.account_links,
        graphql_type=AccountLinkConnection,
        directives=[ADMINISTER],
        description="Invitations and links for forgotten passwords that have not run out, used ones too, page by page. "
        "For administrators.",
    )
    audit_log = strawberry.field(
        resolver=resolve_administration.audit_log,
        graphql_type=AuditConnection,
        directives=[ADMINISTER],
        description="Who did what, page by page; all of it as NDJSON from /export/audit. For administrators.",
    )


@strawberry.type(description="What can be done. Expected failures are data, in each payload's `errors`.")
class Mutation:
    register = mutation(
        resolve_account.register,
        SessionPayload,
        result="sign_in",
        access=ANYONE,
        rate=Rate.SIGN_UP,
        description="Make an account and sign in; the rest of the operation speaks for it.",
    )
    login = mutation(
        resolve_account.login,
        SessionPayload,
        result="sign_in",
        access=ANYONE,
        rate=Rate.SIGN_IN,
        description="Sign in; the rest of the operation speaks for the account.",
    )
    refresh_session = mutation(
        resolve_account.refresh_session,
        SessionPayload,
        result="sign_in",
        access=ANYONE,
        description="Exchange a refresh token, the given one or the cookie's, for fresh credentials. Send it without "
        "an Authorization header.",
    )
    logout = mutation(resolve_account.logout, LogoutPayload, access=SESSION, description="End the viewer's session.")
    change_password = mutation(
        resolve_account.change_password,
        SessionPayload,
        result="sign_in",
        access=SESSION,
        description="Change the password. The viewer's other sessions end; this one goes on, with fresh credentials.",
    )
    create_invitation = mutation(
        resolve_account_link.create_invitation,
        AccountLinkPayload,
        result="made",
        access=ADMINISTER_IN_PERSON,
        description="Make a link by which one person can make an account. Only who is signed in can.",
    )
    create_password_reset = mutation(
        resolve_account_link.create_password_reset,
        AccountLinkPayload,
        result="made",
        access=ADMINISTER_IN_PERSON,
        description="Make a link by which a user can choose another password; an earlier one is void. "
        "Only who is signed in can.",
    )
    withdraw_account_link = mutation(
        resolve_account_link.withdraw_account_link,
        WithdrawAccountLinkPayload,
        result="withdrawn_id",
        access=ADMINISTER,
        description="Make a link void that was not used, whoever has made it. For administrators.",
    )
    reset_password = mutation(
        resolve_account_link.reset_password,
        SessionPayload,
        result="sign_in",
        access=ANYONE,
        description="Choose another password by a link. All sessions and personal access tokens of before end.",
    )
    revoke_session = mutation(
        resolve_session.revoke_session,
        SessionsPayload,
        result="sessions",
        access=SESSION,
        description="End one session, or all but the viewer's own. Their connections are closed within 30 seconds.",
    )
    create_access_token = mutation(
        resolve_access_token.create_access_token,
        CreateAccessTokenPayload,
        result="made",
        access=SESSION,
        description="Make a personal access token. Only who is signed in can: a token makes no tokens.",
    )
    revoke_access_token = mutation(
        resolve_access_token.revoke_access_token,
        AccessTokensPayload,
        result="access_tokens",
        access=SESSION,
        description="End a personal access token. Its connections are closed within 30 seconds.",
    )
    update_settings = mutation(
        resolve_settings.update_settings,
        SettingsPayload,
        result="settings",
        access=MANAGE,
        description="Change choices: all that are given, or none when one is wrong.",
    )
    add_api_key = mutation(
        resolve_api_key.add_api_key,
        ApiKeyPayload,
        result="api_key",
        access=MANAGE,
        description="Add a key of one's own; the newest usable one is used, before the server's.",
    )
    update_api_key = mutation(
        resolve_api_key.update_api_key,
        ApiKeyPayload,
        result="api_key",
        access=MANAGE,
        description="Have a key used or not used from now on, or until then.",
    )
    test_api_key = mutation(
        resolve_api_key.test_api_key,
        TestApiKeyPayload,
        result="test",
        access=MANAGE,
        description="Ask a key's provider for its models, which costs nothing, to see whether it accepts the key.",
    )
    remove_api_key = mutation(
        resolve_api_key.remove_api_key, ApiKeysPayload, result="api_keys", access=MANAGE, description="Remove a key."
    )
    add_provider = mutation(
        resolve_provider.add_provider,
        ProviderPayload,
        result="provider",
        access=ADMINISTER,
        description="Add an endpoint that speaks OpenAI's Chat Completions. For administrators.",
    )
    update_provider = mutation(
        resolve_provider.update_provider,
        ProviderPayload,
        result="provider",
        access=ADMINISTER,
        description="Change a provider: all that is given, or nothing when one part is wrong. For administrators.",
    )
    remove_provider = mutation(
        resolve_provider.remove_provider,
        RemoveProviderPayload,
        result="removed_id",
        access=ADMINISTER,
        description=(
            "Remove an endpoint that no history names, with every key that is stored for it. For administrators."
        ),
    )
    generate_content = mutation(
        resolve_generation.generate_content,
        GenerationPayload,
        result="generation",
        access=GENERATE,
        rate=Rate.GENERATE,
        description="Start a generation. It runs on even when nobody watches; generationEvents tells how it goes.",
    )
    regenerate = mutation(
        resolve_generation.regenerate,
        GenerationPayload,
        result="generation",
        access=GENERATE,
        rate=Rate.GENERATE,
        description="Ask the same again, of the same model unless another is named; what the demo wrote, of the model "
        "that a new request would go to.",
    )
    cancel_generation = mutation(
        resolve_generation.cancel_generation,
        GenerationPayload,
        result="generation",
        access=GENERATE,
        description="Stop a generation, keeping what is written. One that has ended stays as it is.",
    )
    delete_generations = mutation(
        resolve_generation.delete_generations,
        DeletePayload,
        result="deleted_ids",
        empty=(),
        access=GENERATE,
        description="Delete generations that have ended. Their pages in Notion stay.",
    )
    publish_to_notion = mutation(
        resolve_publication.publish_to_notion,
        PublicationPayload,
        result="publication",
        access=PUBLISH,
        description="Put an answer into Notion, or try again when that has failed.",
    )
    sync_notion_page = mutation(
        resolve_page_sync.sync_notion_page,
        NotionPagePayload,
        result="page",
        access=PUBLISH,
        description="Compare a published page with what Notion shows now; take that over, or write what counts here.",
    )
    edit_notion_page = mutation(
        resolve_page_sync.edit_notion_page,
        NotionPagePayload,
        result="page",
        access=PUBLISH,
        description="Change what a published page is to say; syncNotionPage writes it there. All versions are kept.",
    )
    set_budget = mutation(
        resolve_budget.set_budget,
        BudgetPayload,
        result="limit",
        access=ADMINISTER,
        description="Set how much a user, or each user of a role, may spend.",
    )
    connect_notion = mutation(
        resolve_notion.connect_notion,
        NotionConnectionPayload,
        result="notion",
        access=MANAGE,
        description="Connect a Notion workspace, in place of an earlier one.",
    )
    start_notion_authorization = mutation(
        resolve_notion.start_notion_authorization,
        NotionAuthorizationPayload,
        result="started",
        access=SESSION,
        description="Begin to connect Notion by signing in there; the person ends it in the same browser.",
    )
    disconnect_notion = mutation(
        resolve_notion.disconnect_notion,
        NotionConnectionPayload,
        result="notion",
        access=MANAGE,
        description="Forget the tokens; a sign-in at Notion is given back. Pages stay.",
    )
    delete_account = mutation(
        resolve_administration.delete_account,
        DeleteUserPayload,
        result="deleted",
        empty=(),
        access=SESSION,
        description="Delete the viewer's account with everything in it. Pages in Notion stay.",
    )
    update_user = mutation(
        resolve_administration.update_user,
        UserPayload,
        result="user",
        access=ADMINISTER,
        description="Change an account's rights, or sign it out. For administrators.",
    )
    delete_user = mutation(
        resolve_administration.delete_user,
        DeleteUserPayload,
        result="deleted",
        empty=(),
        access=ADMINISTER,
        description="Delete an account with everything in it. Pages in Notion stay. For administrators.",
    )
    set_maintenance = mutation(
        resolve_administration.set_maintenance,
        ServerPayload,
        result="server",
        access=ADMINISTER,
        description="Begin or end maintenance. What runs goes on. For administrators.",
    )
    set_sign_up_policy = mutation(
        resolve_administration.set_sign_up_policy,
        ServerPayload,
        result="server",
        access=ADMINISTER,
        description="Decide who may make an account, in place of the server's configuration. For administrators.",
    )


@strawberry.type(description="What can be watched, over WebSocket (graphql-transport-ws) or Server-Sent Events.")
class Subscription:
    generation_events = strawberry.subscription(
        resolver=resolve_generation.generation_events,
        graphql_type=GenerationEvent,
        directives=[READ],
        description=(
            "Everything from the cursor on: first what is stored, then live. "
            "Ends after GenerationFinished and, if the answer is published, after its publication is settled."
        ),
    )


register_enums()
SCHEMA: Final = ExecutableSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=(User, Session, AccessToken, ApiKey, Generation, Publication, NotionPage),
    scalars=SCALARS,
)


def contexts_of(services: Services) -> NewContext:
    """Makes contexts whose resolvers call these services."""
    return partial(new_context, services)


def export_sdl() -> str:
    """The schema in GraphQL's own language, as it is kept in schema.graphql."""
    return f"{SCHEMA.as_str().rstrip()}\n"
