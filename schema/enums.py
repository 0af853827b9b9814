"""The domain's closed sets as GraphQL enums, every value with what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import strawberry
from strawberry.types.enum import has_enum_definition

from domain.access import Who
from domain.account import Role, Scope
from domain.account_link import LinkPurpose
from domain.audit import AuditAction
from domain.budget import BudgetPeriod
from domain.errors import ErrorCode
from domain.generation import GenerationStatus, HistoryOrder
from domain.notion import NotionParentKind, NotionTokenKind
from domain.page_sync import VersionOrigin
from domain.page_sync_service import SyncDirection
from domain.provider import ModelParameter, ReasoningEffort
from domain.provider_attempt import AttemptStatus
from domain.publication import NotionPageState, PublicationStatus, PublishMode
from domain.server_settings import SignUpPolicy
from domain.usage import UsageGroup
from resolvers.server import ServerState

_ENUMS: Final[Sequence[tuple[type[Enum], str, Mapping[Any, str]]]] = (
    (
        ErrorCode,
        "The stable name of a failure.",
        {
            ErrorCode.INVALID_INPUT: "The input breaks a rule; nothing was changed.",
            ErrorCode.UNAUTHENTICATED: "Nobody, or not any more, is signed in.",
            ErrorCode.FORBIDDEN: "Signed in, but not allowed.",
            ErrorCode.NOT_FOUND: "It does not exist, or is somebody else's: the two look alike.",
            ErrorCode.CONFLICT: "The present state does not admit it.",
            ErrorCode.RATE_LIMITED: "Asked too often; `retryAfterSeconds` says when to ask again.",
            ErrorCode.QUOTA_EXCEEDED: "A budget is used up; `resetsAt` says when it begins anew.",
            ErrorCode.PROVIDER_FAILED: "The AI provider failed; `reason` says how.",
            ErrorCode.NOTION_FAILED: "Notion failed; `reason` says how.",
            ErrorCode.UNAVAILABLE: "This server cannot do it at the moment.",
            ErrorCode.INTERNAL: "A fault of this server; its log tells more.",
        },
    ),
    (
        Role,
        "An account's rights.",
        {Role.USER: "Works with what is their own.", Role.ADMIN: "Also administers the server."},
    ),
    (
        LinkPurpose,
        "What a link is good for.",
        {
            LinkPurpose.INVITATION: "To make an account.",
            LinkPurpose.PASSWORD_RESET: "To set a forgotten password anew.",
        },
    ),
    (
        Who,
        "Who may have something. An owner is the person whose data it is.",
        {
            Who.ANYONE: "Everybody, signed in or not.",
            Who.SIGNED_IN: "Everybody with an account.",
            Who.OWNER: "Whose it is.",
            Who.OWNER_OR_ADMINISTRATOR: "Whose it is, and administrators.",
            Who.ADMINISTRATOR: "Administrators.",
        },
    ),
    (
        Scope,
        "What a personal access token may be used for; never more than its owner may do.",
        {
            Scope.READ: "To read what its owner can read.",
            Scope.GENERATE: "To start, repeat, stop and delete generations.",
            Scope.PUBLISH: "To put answers into Notion.",
            Scope.ADMIN: "To change settings, keys and connections; an administrator's, to administer the server.",
        },
    ),
    (
        UsageGroup,
        "By what usage can be told apart.",
        {
            UsageGroup.DAY: "By the day (of UTC) on which a call began.",
            UsageGroup.PROVIDER: "By provider.",
            UsageGroup.MODEL: "By model.",
            UsageGroup.USER: "By user.",
        },
    ),
    (
        BudgetPeriod,
        "How long a budget lasts, in UTC.",
        {BudgetPeriod.DAY: "A day.", BudgetPeriod.MONTH: "A calendar month."},
    ),
    (
        GenerationStatus,
        "How far a generation has come.",
        {
            GenerationStatus.QUEUED: "Waits for its turn.",
            GenerationStatus.RUNNING: "Is being written.",
            GenerationStatus.SUCCEEDED: "The answer is complete.",
            GenerationStatus.FAILED: "The provider failed; what was written is kept, and `error` says why.",
            GenerationStatus.CANCELLED: "Stopped on request; what was written is kept.",
            GenerationStatus.INTERRUPTED: "The server stopped in the middle; what was written is kept.",
        },
    ),
    (
        AttemptStatus,
        "How far a call to a provider has come.",
        {
            AttemptStatus.RUNNING: "The provider was asked, and its answer is not complete.",
            AttemptStatus.SUCCEEDED: "The answer is complete.",
            AttemptStatus.FAILED: "The provider failed; `error` says why.",
            AttemptStatus.CANCELLED: "Stopped on request.",
            AttemptStatus.INTERRUPTED: "The server stopped in the middle.",
            AttemptStatus.SKIPPED: "Its turn had come, but it was not asked; `error` says why.",
        },
    ),
    (
        HistoryOrder,
        "The order of a history.",
        {HistoryOrder.NEWEST_FIRST: "The latest first.", HistoryOrder.OLDEST_FIRST: "The earliest first."},
    ),
    (
        PublicationStatus,
        "How far a publication has come.",
        {
            PublicationStatus.PENDING: "Waits for its turn, or for the answer to be complete.",
            PublicationStatus.PUBLISHING: "Is being written to Notion.",
            PublicationStatus.PUBLISHED: "The page says all that the answer said.",
            PublicationStatus.FAILED: "It did not work out; `error` says why, and publishToNotion tries again.",
            PublicationStatus.NEEDS_ATTENTION: "Whether the page exists is not clear: look in Notion, then try again, "
            "or say what you have found there with publishToNotion's `resolve`.",
        },
    ),
    (
        PublishMode,
        "What becomes of an answer in Notion.",
        {
            PublishMode.CREATE: "A page of its own.",
            PublishMode.APPEND: "It is put at the end of a page.",
            PublishMode.UPDATE: "What is published already is brought up to date.",
        },
    ),
    (
        NotionPageState,
        "How a page in Notion compares with the answer.",
        {
            NotionPageState.IN_SYNC: "They say the same.",
            NotionPageState.CHANGED_IN_NOTION: "The page has been edited in Notion.",
            NotionPageState.CHANGED_HERE: "The answer has changed here.",
            NotionPageState.CONFLICT: "Both have changed.",
            NotionPageState.GONE: "The page is not there any more, or not shared with the integration.",
        },
    ),
    (
        VersionOrigin,
        "Where a version of a page's text comes from.",
        {
            VersionOrigin.ANSWER: "The answer, as it was generated.",
            VersionOrigin.NOTION: "Somebody has changed the page in Notion.",
            VersionOrigin.EDIT: "It was changed here.",
        },
    ),
    (
        SyncDirection,
        "What to do with a page that was compared with what Notion shows.",
        {
            SyncDirection.COMPARE: "Nothing more.",
            SyncDirection.TAKE: "What Notion shows counts here from now on.",
            SyncDirection.PUSH: "What counts here is written to the page, as far as it differs; the publication tells "
            "how that goes. What others have added stays.",
        },
    ),
    (
        ModelParameter,
        "A knob that a model may have.",
        {
            ModelParameter.MAX_OUTPUT_TOKENS: "The longest answer.",
            ModelParameter.TEMPERATURE: "How freely it chooses its words.",
            ModelParameter.REASONING_EFFORT: "How long it thinks before it answers.",
            ModelParameter.STOP_SEQUENCES: "Texts that end the answer.",
        },
    ),
    (
        ReasoningEffort,
        "How long a model may think before it answers.",
        {
            ReasoningEffort.NONE: "Not at all.",
            ReasoningEffort.LOW: "A little.",
            ReasoningEffort.MEDIUM: "As long as most questions need.",
            ReasoningEffort.HIGH: "Thoroughly.",
        },
    ),
    (
        NotionParentKind,
        "What a page can be put under.",
        {
            NotionParentKind.PAGE: "A page.",
            NotionParentKind.DATA_SOURCE: "A data source: the table of a database, whose pages have properties.",
        },
    ),
    (
        NotionTokenKind,
        "By what a Notion workspace is connected.",
        {
            NotionTokenKind.INTEGRATION: "The token of an integration, as connectNotion takes it.",
            NotionTokenKind.OAUTH: "A sign-in at Notion, begun with startNotionAuthorization; renewed by itself.",
        },
    ),
    (
        SignUpPolicy,
        "Who may make an account.",
        {
            SignUpPolicy.OPEN: "Anybody.",
            SignUpPolicy.INVITE: "Whoever has an invitation.",
            SignUpPolicy.CLOSED: "Nobody; administrators make accounts on the command line.",
        },
    ),
    (
        ServerState,
        "Whether the server takes new work.",
        {
            ServerState.RUNNING: "It does.",
            ServerState.DRAINING: "It finishes what is running, and then stops.",
            ServerState.MAINTENANCE: "Only administrators'; what runs goes on.",
        },
    ),
    (
        AuditAction,
        "Something that happened and is kept for good.",
        {
            AuditAction.USER_REGISTERED: "An account was made.",
            AuditAction.USER_UPDATED: "An administrator has changed an account's rights, or signed it out.",
            AuditAction.USER_DELETED: "An account was deleted with everything in it.",
            AuditAction.SIGNED_IN: "Somebody has signed in.",
            AuditAction.SIGN_IN_FAILED: "Somebody has tried to sign in.",
            AuditAction.SIGNED_OUT: "Somebody has signed out.",
            AuditAction.REFRESH_TOKEN_REUSED: "A refresh token came twice, so its session was ended.",
            AuditAction.PASSWORD_CHANGED: "Somebody has changed their password.",
            AuditAction.PASSWORD_RESET_OFFERED: "A link was made to set a forgotten password anew.",
            AuditAction.PASSWORD_RESET: "A forgotten password was set anew.",
            AuditAction.INVITATION_CREATED: "A link was made to make an account.",
            AuditAction.ACCOUNT_LINK_WITHDRAWN: "A link to make an account, or to set a password anew, was withdrawn.",
            AuditAction.SESSION_REVOKED: "A session was ended.",
            AuditAction.OTHER_SESSIONS_REVOKED: "All sessions of a user but one were ended.",
            AuditAction.ACCESS_TOKEN_CREATED: "A personal access token was made.",
            AuditAction.ACCESS_TOKEN_REVOKED: "A personal access token was ended.",
            AuditAction.SIGNING_KEY_ROTATED: "The next key began to sign access tokens.",
            AuditAction.SIGNING_KEYS_REPLACED: "All keys that sign access tokens were replaced.",
            AuditAction.SETTINGS_UPDATED: "Somebody has changed their settings.",
            AuditAction.API_KEY_ADDED: "A key for a provider was added.",
            AuditAction.API_KEY_REMOVED: "A key for a provider was removed.",
            AuditAction.API_KEY_UPDATED: "A key for a provider was switched on or off.",
            AuditAction.API_KEY_TESTED: "A key was tried at its provider.",
            AuditAction.PROVIDER_ADDED: "An endpoint was added.",
            AuditAction.PROVIDER_UPDATED: "A provider was changed.",
            AuditAction.PROVIDER_REMOVED: "An endpoint was removed.",
            AuditAction.NOTION_CONNECTED: "A Notion workspace was connected.",
            AuditAction.NOTION_DISCONNECTED: "A Notion workspace was disconnected.",
            AuditAction.PAGE_PUBLISHED: "A page was made in Notion.",
            AuditAction.PAGE_TAKEN: "What a page says in Notion was taken for the answer.",
            AuditAction.PAGE_PUSHED: "What counts here was sent to its page in Notion.",
            AuditAction.PAGE_EDITED: "What a page says was changed here.",
            AuditAction.GENERATIONS_DELETED: "Somebody has deleted generations.",
            AuditAction.GENERATIONS_EXPIRED: "Generations were deleted because their time was over.",
            AuditAction.BUDGET_SET: "A budget was set.",
            AuditAction.MAINTENANCE_CHANGED: "Maintenance was begun or ended.",
            AuditAction.SIGN_UP_POLICY_CHANGED: "An administrator has decided who may make an account.",
            AuditAction.AUDIT_LOG_EXPORTED: "The audit log was exported.",
            AuditAction.ACCOUNT_EXPORTED: "Somebody has exported what is theirs.",
        },
    ),
)


def register_enums() -> None:
    """Gives the domain's enums their descriptions, before a schema is built of them.

    The domain cannot carry Strawberry's decorators, and Strawberry may have come across an enum before.
    """
    for enum, description, values in _ENUMS:
        registered: object = enum if has_enum_definition(enum) else strawberry.enum(enum)
        assert has_enum_definition(registered)  # noqa: S101  (the line before has made it)
        definition = registered.__strawberry_definition__
        definition.description = description
        for value in definition.values:
            value.description = values[enum[value.name]]
