"""Who gets what when everybody asks for everything: a row for each root field, and a new field needs a row."""

from dataclasses import dataclass, field
from typing import Any, Final

from tests.api.product import PASSWORD

KEY: Final = "sk-0123456789"
OK: Final = "ok"
NULL: Final = "null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A root field's arguments, `$name` standing for something of the owner's, and what everybody gets.

    `program` has a token of the owner's with every scope but the one that is needed, or with all when none will do.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    visitor: str = "UNAUTHENTICATED"
    program: str = "FORBIDDEN"
    stranger: str
    administrator: str
    owner: str = OK


def everyones(*, visitor: str = OK, program: str = OK, **input_: object) -> Case:
    """What anyone may have, with the same answer for all."""
    arguments = {"input": input_} if input_ else {}
    return Case(arguments=arguments, visitor=visitor, program=program, stranger=OK, administrator=OK)


def own(**input_: object) -> Case:
    """What everybody does with what is their own."""
    return Case(arguments={"input": input_} if input_ else {}, stranger=OK, administrator=OK)


def owners(refusal: str = "NOT_FOUND", **input_: object) -> Case:
    """What is done with something that has an id, by whose it is."""
    return Case(arguments={"input": input_}, stranger=refusal, administrator=refusal)


def administrators(**input_: object) -> Case:
    """What administrators do."""
    arguments = {"input": input_} if input_ else {}
    return Case(arguments=arguments, stranger="FORBIDDEN", administrator=OK, owner="FORBIDDEN")


# In an order in which the owner takes things away only when nobody needs them any more.
TABLE: Final = {
    "Query.server": everyones(),
    "Query.rateLimit": everyones(),
    "Query.viewer": everyones(visitor=NULL, program="FORBIDDEN"),
    "Query.providers": own(),
    "Query.node": Case(arguments={"id": "$generation"}, stranger=NULL, administrator=NULL),
    "Query.generation": Case(arguments={"id": "$generation"}, stranger=NULL, administrator=NULL),
    "Subscription.generationEvents": Case(
        arguments={"id": "$generation"}, stranger="NOT_FOUND", administrator="NOT_FOUND"
    ),
    "Query.estimate": Case(arguments={"input": {"prompt": "Hello."}}, stranger=OK, administrator=OK),
    "Query.roleBudgets": administrators(),
    "Query.usage": Case(
        arguments={"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "groupBy": ["USER"]},
        stranger="FORBIDDEN",
        administrator=OK,
        owner="FORBIDDEN",
    ),
    "Mutation.setBudget": administrators(user="$user", period="DAY", limit="5"),
    "Query.users": administrators(),
    "Query.accountLinks": administrators(),
    "Mutation.withdrawAccountLink": administrators(id="$link"),
    "Query.auditLog": Case(
        arguments={"filter": {"actor": "$user"}}, stranger="FORBIDDEN", administrator=OK, owner="FORBIDDEN"
    ),
    "Mutation.updateUser": administrators(id="$user", role="USER"),
    "Mutation.deleteUser": administrators(id="$user", dryRun=True),
    "Mutation.setMaintenance": administrators(isOn=False),
    "Mutation.setSignUpPolicy": administrators(policy="OPEN"),
    "Mutation.deleteAccount": Case(
        arguments={"input": {"password": PASSWORD, "dryRun": True}},
        stranger=OK,
        administrator="CONFLICT",  # the last one
    ),
    "Mutation.updateSettings": own(systemPrompt="Be brief."),
    "Mutation.addApiKey": own(provider="openai", key=KEY),
    "Mutation.updateApiKey": owners(id="$key", isActive=False),
    "Mutation.testApiKey": owners(id="$key"),
    "Mutation.addProvider": administrators(id="mine", name="Mine", baseUrl="http://127.0.0.1:9/v1"),
    "Mutation.updateProvider": administrators(id="mine", name="Ours"),
    "Mutation.removeProvider": administrators(id="mine"),
    "Mutation.generateContent": own(prompt="Hello."),
    "Mutation.regenerate": owners(id="$generation"),
    "Mutation.cancelGeneration": owners(id="$generation"),
    "Mutation.publishToNotion": Case(
        arguments={"input": {"generationId": "$generation", "publish": {"parent": "$parent"}}},
        stranger="NOT_FOUND",
        administrator="NOT_FOUND",
        owner="CONFLICT",  # it is published
    ),
    "Query.publicationPreview": Case(
        arguments={"generationId": "$generation", "publish": {"parent": "$parent"}},
        stranger="NOT_FOUND",
        administrator="NOT_FOUND",
        owner="CONFLICT",  # it is published
    ),
    "Mutation.syncNotionPage": owners(id="$page"),
    "Mutation.editNotionPage": Case(
        arguments={"input": {"id": "$page", "content": "New.", "baseVersion": 999}},
        stranger="NOT_FOUND",
        administrator="NOT_FOUND",
        owner="CONFLICT",  # the page is the owner's: it has no such version
    ),
    "Mutation.connectNotion": Case(arguments={"input": {"token": "$notion"}}, stranger=OK, administrator=OK),
    "Mutation.startNotionAuthorization": Case(
        stranger="UNAVAILABLE",  # this server has no integration of its own at Notion
        administrator="UNAVAILABLE",
        owner="UNAVAILABLE",
    ),
    "Mutation.disconnectNotion": own(),
    "Mutation.deleteGenerations": owners(OK, ids=["$generation"]),
    "Mutation.removeApiKey": owners(id="$key"),
    "Mutation.createAccessToken": own(name="Another", scopes=["READ"]),
    "Mutation.revokeAccessToken": owners(id="$token"),
    "Mutation.revokeSession": owners(id="$session"),
    "Mutation.refreshSession": Case(
        arguments={"input": {"refreshToken": "nonsense"}},
        program="UNAUTHENTICATED",
        stranger="UNAUTHENTICATED",
        administrator="UNAUTHENTICATED",
        owner="UNAUTHENTICATED",
    ),
    "Mutation.login": everyones(login="ada", password=PASSWORD),
    "Mutation.register": Case(
        arguments={"input": {"email": "ada@example.org", "username": "ada", "password": PASSWORD}},
        visitor="CONFLICT",  # whoever asks, it is only taken
        program="CONFLICT",
        stranger="CONFLICT",
        administrator="CONFLICT",
        owner="CONFLICT",
    ),
    "Mutation.createInvitation": administrators(role="USER"),
    "Mutation.createPasswordReset": administrators(userId="$user"),
    "Mutation.resetPassword": Case(
        arguments={"input": {"secret": "nonsense", "newPassword": "something else altogether"}},
        visitor="INVALID_INPUT",  # whoever asks, there is no such link
        program="INVALID_INPUT",
        stranger="INVALID_INPUT",
        administrator="INVALID_INPUT",
        owner="INVALID_INPUT",
    ),
    "Mutation.changePassword": Case(
        arguments={"input": {"currentPassword": "not this one", "newPassword": "something else altogether"}},
        stranger="INVALID_INPUT",
        administrator="INVALID_INPUT",
        owner="INVALID_INPUT",
    ),
    "Mutation.logout": own(),
}
