"""Appending answers to pages and bringing pages up to date, through the API of the whole product."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.api.product import Person
from tests.api.test_publishing import connected, product_with_notion
from tests.standins.notion import NotionStandin
from tests.standins.notion_content import plain_text
from tests.standins.notion_errors import JSON

GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id content } errors { message code field } }
}
"""
REGENERATE = """
mutation ($input: RegenerateInput!) {
  regenerate(input: $input) { generation { id content } errors { message code field } }
}
"""
PUBLISH = """
mutation ($input: PublishInput!) {
  publishToNotion(input: $input) { publication { id status mode } errors { message code field } }
}
"""
SYNC = """
mutation ($input: SyncInput!) {
  syncNotionPage(input: $input) { page { state version { content } } errors { message code field } }
}
"""
EDIT = """
mutation ($input: EditNotionPageInput!) {
  editNotionPage(input: $input) { page { id state } errors { message code field } }
}
"""
STORED = """
query ($id: ID!) { generation(id: $id) { publication {
  mode status attempts error { code message } page { id pageId title url state isOurs version { number } }
} } }
"""

STATUS = "query ($id: ID!) { generation(id: $id) { status } }"


async def _answer(person: Person, prompt: str) -> tuple[str, str]:
    """Id and text of a complete answer."""
    generation = (await person.do(GENERATE, input={"prompt": prompt, "wait": True}))["generation"]
    return generation["id"], generation["content"]


async def _publication(person: Person, generation_id: str) -> Any:
    return (await person.ask(STORED, id=generation_id))["generation"]["publication"]


async def _published(person: Person, generation_id: str, **publish: object) -> Any:
    """The publication, once nothing more happens to it."""
    await person.do(PUBLISH, input={"generationId": generation_id, "publish": publish})
    found = await _until(
        person, STORED, generation_id, lambda it: it["publication"]["status"] not in ("PENDING", "PUBLISHING")
    )
    return found["publication"]


async def _until(person: Person, query: str, generation_id: str, is_so: Callable[[Any], bool]) -> Any:
    """The generation, asked for again and again until it is so."""
    async with asyncio.timeout(90):
        while True:
            found = (await person.ask(query, id=generation_id))["generation"]
            if is_so(found):
                return found
            await asyncio.sleep(0.05)


def _words(notion: NotionStandin, page_id: str) -> str:
    """All that a page says."""

    def said(block: JSON) -> str:
        content = block[block["type"]]
        inside = "".join(map(said, content.get("children", ())))
        return plain_text(content.get("rich_text", [])) + "\n" + inside

    return "".join(map(said, notion.children_tree(page_id)))


async def test_answers_are_appended_to_a_page(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, _):
        ada = await connected(running, notion)
        diary = notion.add_page("Diary")
        (theirs,) = notion.memory.add_blocks(
            diary, [{"paragraph": {"rich_text": [{"type": "text", "text": {"content": "Dear diary"}}]}}], by="somebody"
        )
        first, second = await _answer(ada, "First"), await _answer(ada, "Second")
        for generation_id, _ in (first, second):
            found = await _published(ada, generation_id, mode="APPEND", parent=notion.address(diary))
            assert (found["status"], found["mode"], found["error"]) == ("PUBLISHED", "APPEND", None)
            page = found["page"]
            assert (page["pageId"], page["title"], page["isOurs"]) == (diary.id, "Diary", False)
            assert page["url"] == notion.address(diary)
        assert diary.live_children[0] is theirs
        assert notion.pages_under(diary) == []
        words = _words(notion, diary.id)
        blocks = len(diary.live_children)
        assert words.index("Dear diary") < words.index("First") < words.index("Second")

        # Again is a conflict, and as an update nothing that anybody sees.
        assert (await ada.fail(PUBLISH, input={"generationId": first[0]}))[0] == "CONFLICT"
        assert (await _published(ada, first[0], mode="UPDATE"))["status"] == "PUBLISHED"
        assert (len(diary.live_children), _words(notion, diary.id)) == (blocks, words)


async def test_only_a_page_can_be_appended_to(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        generation_id, _ = await _answer(ada, "First")
        database = notion.add_database("Answers")

        async def refused(**publish: object) -> tuple[str, list[str] | None]:
            return await ada.fail(PUBLISH, input={"generationId": generation_id, "publish": publish})

        assert await refused(mode="APPEND", parent=database.id) == ("INVALID_INPUT", ["input", "publish", "parent"])
        properties = {"Status": "Done"}
        assert await refused(mode="APPEND", parent=parent.id, properties=properties) == (
            "INVALID_INPUT",
            ["input", "publish", "properties"],
        )
        assert await refused(mode="UPDATE") == ("INVALID_INPUT", ["input", "publish", "mode"])
        asked = {"prompt": "Hi", "publish": {"mode": "UPDATE", "parent": parent.id}}
        assert await ada.fail(GENERATE, input=asked) == ("INVALID_INPUT", ["input", "publish", "mode"])
        assert await _publication(ada, generation_id) is None


async def test_a_regenerated_answer_takes_the_place_of_the_first(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        first, _ = await _answer(ada, "Why?")
        page = (await _published(ada, first, parent=parent.id))["page"]
        remark = {"paragraph": {"rich_text": [{"type": "text", "text": {"content": "A remark"}}]}}
        (foreign,) = notion.memory.add_blocks(notion.page(page["pageId"]), [remark], by="somebody")
        again = (await ada.do(REGENERATE, input={"id": first}))["generation"]
        await _until(ada, STATUS, again["id"], lambda generation: generation["status"] == "SUCCEEDED")
        assert (await ada.fail(PUBLISH, input={"generationId": first}))[0] == "CONFLICT"

        found = await _published(ada, again["id"], mode="UPDATE")

        assert (found["status"], found["mode"]) == ("PUBLISHED", "UPDATE")
        assert found["page"] | {"version": None} == page | {"version": None}
        assert found["page"]["version"] == {"number": 2}
        assert await _publication(ada, first) is None
        (only,) = notion.pages_under(parent)
        assert only.live_children[-1] is foreign


async def test_an_edited_page_is_pushed_and_what_somebody_did_is_not_overwritten_unasked(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        generation_id, _ = await _answer(ada, "Why?")
        page = (await _published(ada, generation_id, parent=parent.id))["page"]
        text = "# Ours\n\nOne.\n\nTwo.\n"
        edited = await ada.do(EDIT, input={"id": page["id"], "baseVersion": 1, "content": text})
        assert edited["page"]["state"] == "CHANGED_HERE"
        found = await _published(ada, generation_id, mode="UPDATE")
        assert (found["status"], found["page"]["state"]) == ("PUBLISHED", "IN_SYNC")
        assert _words(notion, page["pageId"]) == "Ours\nOne.\nTwo.\n"

        node = notion.page(page["pageId"]).live_children[1]
        node.content["rich_text"][0]["text"]["content"] = node.content["rich_text"][0]["plain_text"] = "Uno."
        notion.memory.touch(node, by="somebody")
        await ada.do(EDIT, input={"id": page["id"], "baseVersion": 2, "content": text + "\nThree.\n"})
        found = await _published(ada, generation_id, mode="UPDATE")
        assert (found["status"], found["error"]["code"]) == ("FAILED", "CONFLICT")
        assert found["page"]["state"] == "CONFLICT"
        assert _words(notion, page["pageId"]) == "Ours\nUno.\nTwo.\n"

        found = await _published(ada, generation_id, mode="UPDATE", overwrite=True)
        assert (found["status"], found["page"]["state"]) == ("PUBLISHED", "IN_SYNC")
        assert _words(notion, page["pageId"]) == "Ours\nOne.\nTwo.\nThree.\n"


async def test_what_was_taken_from_notion_is_not_said_twice_by_the_next_update(database_url: str) -> None:
    async with product_with_notion(database_url) as (running, notion, parent):
        ada = await connected(running, notion)
        generation_id, _ = await _answer(ada, "Why?")
        page = (await _published(ada, generation_id, parent=parent.id))["page"]
        remark = {"paragraph": {"rich_text": [{"type": "text", "text": {"content": "A remark"}}]}}
        node = notion.page(page["pageId"])
        (foreign,) = notion.memory.add_blocks(node, [remark], by="somebody")
        notion.memory.touch(foreign, by="somebody")
        taken = (await ada.do(SYNC, input={"id": page["id"], "direction": "TAKE"}))["page"]
        assert taken["state"] == "IN_SYNC"
        assert taken["version"]["content"].count("A remark") == 1
        text = taken["version"]["content"].replace("A remark", "Two remarks")
        await ada.do(EDIT, input={"id": page["id"], "baseVersion": 2, "content": text})
        foreign.content["rich_text"][0]["plain_text"] = foreign.content["rich_text"][0]["text"]["content"] = "Mine!"
        notion.memory.touch(foreign, by="somebody")
        assert (await _published(ada, generation_id, mode="UPDATE"))["error"]["code"] == "CONFLICT"
        found = await _published(ada, generation_id, mode="UPDATE", overwrite=True)
        assert (found["status"], found["page"]["state"]) == ("PUBLISHED", "IN_SYNC")
        words = _words(notion, page["pageId"])
        assert (words.count("remark"), words.count("Two remarks"), words.count("Mine!")) == (1, 1, 0)
