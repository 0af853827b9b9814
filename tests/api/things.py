"""One of everything that has an id, and how the table's arguments come to name it."""

from typing import Any, Final

from tests.api.access_table import KEY
from tests.api.assistant import CONNECT, Outside, over_sse, start
from tests.api.product import PASSWORD, Person, Product

SETTINGS: Final = {"openai_api_key": "sk-server-0123456789", "private_endpoints": "127.0.0.0/8"}
INVITE: Final = """
mutation ($input: CreateInvitationInput!) { createInvitation(input: $input) { link { id } errors { code } } }
"""
LOGIN: Final = "mutation ($input: LoginInput!) { login(input: $input) { accessToken errors { code } } }"


def filled_in(value: object, things: dict[str, str]) -> Any:
    """What the table says, with the things' ids where it says `$name`."""
    match value:
        case dict():
            return {name: filled_in(each, things) for name, each in value.items()}
        case list():
            return [filled_in(each, things) for each in value]
        case str() if value.startswith("$"):
            return things[value[1:]]
        case _:
            return value


async def things_of(running: Product, ada: Person, root: Person, world: Outside) -> dict[str, str]:
    """One of everything that has an id; all of it is hers, but for a link that the administrator has made."""
    notion = world.notion.add_workspace().token
    await ada.do(CONNECT, input={"token": notion})
    parent = world.notion.add_page("Inbox").id
    generation = await start(ada, wait=True, publish={"parent": parent})
    await over_sse(ada, generation)
    await ada.do(_mutation("addApiKey", "AddApiKeyInput!"), input={"provider": "openai", "key": KEY})
    made = {"name": "Program", "scopes": ["READ"]}
    await ada.do(_mutation("createAccessToken", "CreateAccessTokenInput!"), input=made)
    # Another sign-in, so that ending it leaves her here.
    await (await running.visitor()).do(LOGIN, input={"login": "ada", "password": PASSWORD})
    hers = await ada.ask(
        "query ($id: ID!) { viewer { id apiKeys { id } sessions { id isCurrent } accessTokens { id } } "
        "generation(id: $id) { publication { id page { id } } } }",
        id=generation,
    )
    invitation = await root.do(INVITE, input={})
    publication = hers["generation"]["publication"]
    return {
        "user": hers["viewer"]["id"],
        "key": hers["viewer"]["apiKeys"][0]["id"],
        "session": next(each["id"] for each in hers["viewer"]["sessions"] if not each["isCurrent"]),
        "token": hers["viewer"]["accessTokens"][0]["id"],
        "generation": generation,
        "link": invitation["link"]["id"],
        "publication": publication["id"],
        "page": publication["page"]["id"],
        "parent": parent,
        "notion": notion,
    }


def _mutation(name: str, input_: str) -> str:
    return f"mutation ($input: {input_}) {{ {name}(input: $input) {{ errors {{ code }} }} }}"
