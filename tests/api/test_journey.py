"""The whole way of an answer: asked for, watched, found again, and put into Notion."""

import asyncio
from typing import Any

from tests.api.assistant import (
    CONNECT,
    GENERATE,
    PUBLISH,
    Outside,
    at_work,
    kinds_of,
    outside,
    over_sse,
    over_websocket,
    start,
    stored,
    text_of,
    when_watched,
)
from tests.api.product import Person, Product
from tests.standins.notion_errors import JSON
from tests.standins.notion_state import Node
from tests.standins.scenario import DEFAULT_ANSWER, Failure, Gate, Scenario, cut

SERVER_KEYS = {"openai_api_key": "sk-server-0001", "anthropic_api_key": "sk-server-0002"}
HISTORY = """
query History($first: Int, $after: String, $last: Int, $before: String, $filter: HistoryFilter) {
  viewer {
    history(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      totalCount
      pageInfo { hasPreviousPage hasNextPage startCursor endCursor }
      nodes { id status prompt content publication { page { url } } }
    }
  }
}
"""
SETTINGS = """
mutation Save($input: UpdateSettingsInput!) {
  updateSettings(input: $input) { settings { defaultProvider defaultModel } errors { code message field } }
}
"""
# What the stand-in's answer is in Notion: one line a block, with the marks of its texts.
ANSWER_IN_NOTION = [
    "heading_1: A short answer 🚀",
    "paragraph: Here is what you asked for, in <bold three> steps:",
    "bulleted_list_item: read the question",
    "bulleted_list_item: think about it <italic for a moment> 🤔",
    "bulleted_list_item: write the answer down",
    'code (python): def greet(name: str) -> str:\n    return f"Hello, {name}!"',
    "table",
    "  table_row: Step | Minutes",
    "  table_row: Read | 1",
    "  table_row: Write | 2",
    "quote: It is only a stand-in, naïve but quick ✅",
    "paragraph: See <https://example.com/notes the notes> for more.",
]


def lines_of(blocks: list[JSON], indent: str = "") -> list[str]:
    """The blocks of a page as text."""
    lines = []
    for block in blocks:
        content = block[block["type"]]
        head = indent + block["type"] + (f" ({content['language']})" if "language" in content else "")
        texts = content.get("cells") or ([content["rich_text"]] if "rich_text" in content else [])
        words = " | ".join("".join(map(_said, text)) for text in texts)
        lines.append(f"{head}: {words}" if texts else head)
        lines += lines_of(content.get("children", []), indent + "  ")
    return lines


def _said(text: JSON) -> str:
    marks = [name for name, is_on in text["annotations"].items() if is_on is True]
    marks += [text["href"]] if text["href"] else []
    return f"<{' '.join(marks)} {text['plain_text']}>" if marks else str(text["plain_text"])


async def connect(person: Person, world: Outside) -> Node:
    """Connects them to a new workspace; answers a page that is shared with the integration."""
    workspace = world.notion.add_workspace("Acme")
    payload = await person.do(CONNECT, input={"token": workspace.token})
    assert payload["notion"] == {"workspaceName": "Acme"}
    return world.notion.add_page("Inbox", workspace=workspace)


async def history_of(person: Person, **arguments: object) -> Any:
    """A page of their history."""
    return (await person.ask(HISTORY, **arguments))["viewer"]["history"]


async def test_from_the_prompt_to_the_page_in_notion(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada = await running.person("ada")
        gate = Gate()
        world.openai.enqueue(Scenario(gate=gate))
        generation_id = await start(ada, "How do I greet?\nIn Python, please.")

        over_both = await asyncio.gather(
            over_websocket(ada, generation_id), over_sse(ada, generation_id), when_watched(running, 2, gate, ada)
        )
        for events in over_both[:2]:
            assert kinds_of(events)[-2:] == ["GenerationText", "GenerationFinished"]
            assert len(events) > 5, "it arrived piece by piece"
            assert text_of(events) == DEFAULT_ANSWER
            assert events[-1]["generation"] == {"id": generation_id, "status": "SUCCEEDED", "content": DEFAULT_ANSWER}

        history = await history_of(ada, first=10)
        assert (history["totalCount"], len(history["nodes"])) == (1, 1)
        found = history["nodes"][0]
        assert found["prompt"] == "How do I greet?\nIn Python, please."
        assert (found["id"], found["content"], found["publication"]) == (generation_id, DEFAULT_ANSWER, None)

        inbox = await connect(ada, world)
        publish = {"generationId": generation_id, "publish": {"parent": world.notion.address(inbox)}}
        assert (await ada.do(PUBLISH, input=publish))["publication"]["status"] == "PENDING"
        events = await over_websocket(ada, generation_id)
        assert kinds_of(events) == ["GenerationReasoning", "GenerationText", "GenerationFinished", "PublicationChanged"]
        (page,) = world.notion.pages_under(inbox)
        address = world.notion.address(page)
        assert events[-1]["publication"]["status"] == "PUBLISHED"
        assert events[-1]["publication"]["page"] == {"url": address}

        assert page.words == "How do I greet?"
        assert lines_of(world.notion.children_tree(page.id)) == ANSWER_IN_NOTION
        publication = (await stored(ada, generation_id))["publication"]
        assert publication["page"] == {
            "pageId": page.id,
            "parentId": inbox.id,
            "title": "How do I greet?",
            "url": address,
            "state": "IN_SYNC",
        }
        # What Notion has no place for is told: nothing else of this answer is lost.
        assert publication["degraded"] == ["The alignment of table columns is left out."]
        assert (publication["attempts"], publication["error"]) == (1, None)
        (published,) = (await history_of(ada, filter={"published": True}))["nodes"]
        assert published["publication"]["page"] == {"url": address}


async def test_an_answer_becomes_an_entry_of_a_database(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada = await running.person("ada")
        await connect(ada, world)
        database = world.notion.add_database(
            "Answers",
            {"Question": "title", "Model": "select", "Tags": "multi_select", "Score": "number", "Link": "url"},
        )
        publish = {
            "parent": world.notion.address(database),
            "title": "Greeting",
            "properties": {"Model": "gpt", "Tags": ["code", "short"], "Score": 4.5, "Link": "https://example.com/"},
        }
        payload = await ada.do(GENERATE, input={"prompt": "Greet.", "publish": publish, "wait": True})

        assert payload["generation"]["status"] == "SUCCEEDED"
        assert payload["generation"]["publication"]["status"] == "PUBLISHED"
        source = world.notion.data_source(database)
        (page,) = world.notion.pages_under(source)
        values = {name: page.properties[definition["id"]] for name, definition in page.schema.items()}
        assert page.words == "Greeting"
        assert values["Model"]["name"] == "gpt"
        assert [tag["name"] for tag in values["Tags"]] == ["code", "short"]
        assert (values["Score"], values["Link"]) == (4.5, "https://example.com/")
        assert lines_of(world.notion.children_tree(page.id)) == ANSWER_IN_NOTION
        kept = (await stored(ada, payload["generation"]["id"]))["publication"]["page"]
        assert (kept["pageId"], kept["title"], kept["url"]) == (page.id, "Greeting", world.notion.address(page))


async def test_an_answer_of_any_length_is_published_whole(database_url: str) -> None:
    answer = DEFAULT_ANSWER * 30
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada = await running.person("ada")
        inbox = await connect(ada, world)
        world.openai.enqueue(Scenario(text=cut(answer, 100)))
        payload = await ada.do(GENERATE, input={"prompt": "Long.", "publish": {"parent": inbox.id}, "wait": True})
        assert payload["generation"]["publication"]["status"] == "PUBLISHED"
        (page,) = world.notion.pages_under(inbox)
        assert lines_of(world.notion.children_tree(page.id)) == ANSWER_IN_NOTION * 30


async def test_a_publication_that_fails_is_seen_and_can_be_repeated(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada = await running.person("ada")
        inbox = await connect(ada, world)
        gate = Gate()
        world.openai.enqueue(Scenario(gate=gate))
        generation_id = await start(ada, "Greet.", publish={"parent": inbox.id})
        # In the meantime: not to be retried by the server itself.
        inbox.shared = False
        gate.open()
        events = await over_websocket(ada, generation_id)
        assert events[-1]["publication"]["status"] == "FAILED"
        assert events[-1]["publication"]["error"] == {"code": "NOTION_FAILED", "reason": "NOT_SHARED"}
        failed = await stored(ada, generation_id)
        assert (failed["status"], failed["content"]) == ("SUCCEEDED", DEFAULT_ANSWER)
        assert failed["publication"]["error"]["message"]
        assert world.notion.pages_under(inbox) == []

        inbox.shared = True
        await ada.do(PUBLISH, input={"generationId": generation_id})
        assert (await over_sse(ada, generation_id))[-1]["publication"]["status"] == "PUBLISHED"
        (page,) = world.notion.pages_under(inbox)
        assert lines_of(world.notion.children_tree(page.id)) == ANSWER_IN_NOTION
        again = await ada.fail(PUBLISH, input={"generationId": generation_id})
        assert again == ("CONFLICT", ["input", "generationId"])
        assert world.notion.pages_under(inbox) == [page]


async def test_the_settings_decide_what_a_request_leaves_open(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada = await running.person("ada")
        inbox = await connect(ada, world)
        notion = {"parentId": inbox.id, "autoPublish": True}
        choices = {"defaultProvider": "anthropic", "defaultModel": "claude-haiku-5-5", "systemPrompt": "Be brief."}
        await ada.do(SETTINGS, input={**choices, "notion": notion})
        payload = await ada.do(GENERATE, input={"prompt": "Hello.", "wait": True})

        found = await stored(ada, payload["generation"]["id"])
        assert (found["provider"], found["model"]) == ({"id": "anthropic"}, {"id": "claude-haiku-5-5"})
        body = world.anthropic.requests[-1].body
        assert body is not None
        assert (body["model"], body["system"]) == ("claude-haiku-5-5", "Be brief.")
        assert [page.words for page in world.notion.pages_under(inbox)] == ["Hello."]
        assert world.openai.requests == []


async def many_generations(running: Product, world: Outside) -> tuple[Person, dict[str, str]]:
    """A person with a varied history: ids by name, the oldest first."""
    ada = await running.person("ada")
    inbox = await connect(ada, world)
    world.openai.enqueue(Scenario(), Scenario(), Scenario(failure=Failure.OUT_OF_CREDIT))
    made = {
        "whales": await start(ada, "Tell me about whales.", provider="openai", wait=True),
        "page": await start(ada, "A page, please.", provider="openai", wait=True, publish={"parent": inbox.id}),
        "failed": await start(ada, "This goes wrong.", provider="openai", wait=True),
        "claude": await start(ada, "Another model.", provider="anthropic", model="claude-haiku-5-5", wait=True),
        "last": await start(ada, "The last one.", provider="anthropic", wait=True),
    }
    return ada, made


async def test_history_is_found_again_by_what_is_known_of_it(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada, made = await many_generations(running, world)
        names = {generation_id: name for name, generation_id in made.items()}
        created = {
            node["id"]: node["createdAt"]
            for node in (await ada.ask("{ viewer { history { nodes { id createdAt } } } }"))["viewer"]["history"][
                "nodes"
            ]
        }

        async def found(**filter_: object) -> list[str]:
            history = await history_of(ada, filter=filter_)
            assert history["totalCount"] == len(history["nodes"])
            return [names[node["id"]] for node in reversed(history["nodes"])]

        assert await found() == list(made)
        assert await found(provider=["openai"]) == ["whales", "page", "failed"]
        assert await found(provider=["openai", "anthropic"], status=["FAILED"]) == ["failed"]
        assert await found(model=["claude-haiku-5-5"]) == ["claude"]
        assert await found(published=True) == ["page"]
        assert await found(published=False, status=["SUCCEEDED"]) == ["whales", "claude", "last"]
        assert await found(search="whales") == ["whales"]
        assert await found(search='"short answer" -whales', provider=["openai"]) == ["page"]
        span = {"createdAfter": created[made["page"]], "createdBefore": created[made["last"]]}
        assert await found(**span) == ["page", "failed", "claude"]
        assert (await (await running.person("bob")).ask(HISTORY))["viewer"]["history"]["totalCount"] == 0


async def test_history_reads_the_same_from_either_end(database_url: str) -> None:
    async with outside() as world, at_work(database_url, world, SERVER_KEYS) as running:
        ada, made = await many_generations(running, world)
        newest_first = list(reversed(made.values()))

        forwards: list[str] = []
        after = None
        while True:
            page = await history_of(ada, first=2, after=after)
            forwards += [node["id"] for node in page["nodes"]]
            assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert forwards == newest_first

        backwards: list[str] = []
        before = None
        while True:
            page = await history_of(ada, last=2, before=before)
            backwards = [node["id"] for node in page["nodes"]] + backwards
            assert page["pageInfo"]["hasNextPage"] == (before is not None)
            before = page["pageInfo"]["startCursor"]
            if not page["pageInfo"]["hasPreviousPage"]:
                break
        assert backwards == newest_first

        # What is written meanwhile does not move the pages that follow.
        first = await history_of(ada, first=2)
        await start(ada, "Even newer.", wait=True)
        rest = await history_of(ada, first=100, after=first["pageInfo"]["endCursor"])
        assert [node["id"] for node in first["nodes"] + rest["nodes"]] == newest_first
