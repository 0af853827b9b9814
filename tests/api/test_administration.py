"""What administrators do: accounts, the audit log, maintenance."""

import asyncio
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from ops.encryption_key import EncryptionKey
from persistence.engine import create_engine
from tests.api.assistant import at_work
from tests.api.product import PASSWORD, REGISTER, Person, Product, product
from tests.waiting import PATIENCE_SECONDS

USERS = """
query ($first: Int, $after: String, $last: Int, $before: String, $search: String) {
  users(first: $first, after: $after, last: $last, before: $before, search: $search) {
    totalCount nodes { id username email role isActive }
    edges { cursor node { username } } pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}
"""
UPDATE = """
mutation ($input: UpdateUserInput!) {
  updateUser(input: $input) { user { id role isActive } errors { message code field } }
}
"""
DELETE = """
mutation ($input: DeleteUserInput!) {
  deleteUser(input: $input) { deleted { kind count } errors { message code field } }
}
"""
MAINTENANCE = """
mutation ($input: SetMaintenanceInput!) {
  setMaintenance(input: $input) { server { state maintenanceMessage } errors { message code field } }
}
"""
SIGN_UP = """
mutation ($input: SetSignUpPolicyInput!) {
  setSignUpPolicy(input: $input) { server { signUpPolicy } errors { message code field } }
}
"""
GENERATE = """
mutation ($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id status } errors { message code field } }
}
"""
AUDIT = """
query ($first: Int, $after: String, $filter: AuditFilter) {
  auditLog(first: $first, after: $after, filter: $filter) {
    totalCount nodes { at action actorId actor { username } target ip details } pageInfo { hasNextPage endCursor }
  }
}
"""
HISTORY = "{ viewer { history { nodes { status } } } }"
WHO = "{ viewer { id username } }"


async def _id_of(person: Person) -> str:
    id_: str = (await person.ask(WHO))["viewer"]["id"]
    return id_


async def test_accounts_are_searched_and_paged(database_url: str) -> None:
    async with product(database_url) as running:
        root = await running.administrator()
        for name in ("ada", "bob", "percy"):
            await running.person(name)
        everybody = (await root.ask(USERS))["users"]
        assert [user["username"] for user in everybody["nodes"]] == ["root", "ada", "bob", "percy"]
        first = (await root.ask(USERS, first=3))["users"]
        assert first["totalCount"] == 4
        assert first["pageInfo"]["hasNextPage"]
        rest = (await root.ask(USERS, first=3, after=first["pageInfo"]["endCursor"]))["users"]
        assert [user["username"] for user in rest["nodes"]] == ["percy"]
        assert rest["pageInfo"] == {
            "hasNextPage": False,
            "hasPreviousPage": True,
            "endCursor": rest["edges"][0]["cursor"],
        }
        last = (await root.ask(USERS, last=1, before=first["pageInfo"]["endCursor"]))["users"]
        assert [user["username"] for user in last["nodes"]] == ["ada"]
        found = (await root.ask(USERS, search="ADA@ex"))["users"]
        assert [user["username"] for user in found["nodes"]] == ["ada"]
        assert (await root.ask(USERS, search="%"))["users"]["totalCount"] == 0
        assert (await root.refused(USERS, search=" "))["code"] == "INVALID_INPUT"


async def test_a_deactivated_account_is_out_everywhere(database_url: str) -> None:
    async with product(database_url, tokens_per_second=1) as running:
        root, ada = await running.administrator(), await running.person()
        ada_id = await _id_of(ada)
        await ada.do(GENERATE, input={"prompt": "Bees"})
        assert (await root.do(UPDATE, input={"id": ada_id, "isActive": False}))["user"]["isActive"] is False
        assert (await ada.request(WHO)).status_code == 401
        user = (await root.do(UPDATE, input={"id": ada_id, "isActive": True}))["user"]
        assert user == {"id": ada_id, "role": "USER", "isActive": True}
        assert (await ada.request(WHO)).status_code == 401  # its sign-ins stay ended
        await ada.log_in("ada")
        async with asyncio.timeout(90):
            while (status := (await ada.ask(HISTORY))["viewer"]["history"]["nodes"][0]["status"]) == "RUNNING":  # noqa: ASYNC110  (as a client polls)
                await asyncio.sleep(0.1)
        assert status == "CANCELLED"


async def test_an_account_is_signed_out(database_url: str) -> None:
    async with product(database_url) as running:
        root, ada = await running.administrator(), await running.person()
        await root.do(UPDATE, input={"id": await _id_of(ada), "signOut": True})
        assert (await ada.request(WHO)).status_code == 401
        await ada.log_in("ada")
        assert (await ada.ask(WHO))["viewer"]["username"] == "ada"


async def test_a_demoted_administrator_is_one_no_more(database_url: str) -> None:
    async with product(database_url) as running:
        root, second = await running.administrator(), await running.administrator("second")
        await root.do(UPDATE, input={"id": await _id_of(second), "role": "USER"})
        assert (await second.refused(USERS))["code"] == "FORBIDDEN"


@pytest.mark.parametrize("change", [{"role": "USER"}, {"isActive": False}])
async def test_somebody_can_always_administer(database_url: str, change: dict[str, Any]) -> None:
    async with product(database_url) as running:
        root, second = await running.administrator(), await running.administrator("second")
        ids = [await _id_of(each) for each in (root, second)]
        # Each puts the other one out at the same moment.
        answers = await asyncio.gather(
            root.request(UPDATE, input={"id": ids[1], **change}),
            second.request(UPDATE, input={"id": ids[0], **change}),
        )
        payloads = [answer.json().get("data", {}).get("updateUser") for answer in answers]
        done = [payload for payload in payloads if payload is not None and payload["errors"] == []]
        assert len(done) == 1
        survivor = root if payloads[0] in done else second
        assert await survivor.fail(UPDATE, input={"id": await _id_of(survivor), **change}) == ("CONFLICT", None)
        assert await survivor.fail(DELETE, input={"id": await _id_of(survivor)}) == ("CONFLICT", None)


async def test_an_account_is_deleted_with_all_that_is_in_it(database_url: str) -> None:
    async with product(database_url) as running:
        root, ada, bob = await running.administrator(), await running.person("ada"), await running.person("bob")
        ada_id = await _id_of(ada)
        for person in (ada, bob):
            await person.do(GENERATE, input={"prompt": "Bees", "wait": True})
        would_go = (await root.do(DELETE, input={"id": ada_id, "dryRun": True}))["deleted"]
        counts = {each["kind"]: each["count"] for each in would_go}
        assert counts["users"] == counts["content_history"] == counts["sessions"] == 1
        assert (await ada.ask(WHO))["viewer"]["username"] == "ada"
        assert (await root.do(DELETE, input={"id": ada_id}))["deleted"] == would_go
        assert (await ada.request(WHO)).status_code == 401
        assert await root.fail(DELETE, input={"id": ada_id}) == ("NOT_FOUND", ["input", "id"])
        assert len((await bob.ask(HISTORY))["viewer"]["history"]["nodes"]) == 1
        await running.person("ada")  # the name is free again


async def test_maintenance_stops_what_is_new_and_nothing_else(database_url: str) -> None:
    async with product(database_url, tokens_per_second=50) as running:
        root, ada = await running.administrator(), await running.person()
        started = (await ada.do(GENERATE, input={"prompt": "Bees"}))["generation"]
        payload = await root.do(MAINTENANCE, input={"isOn": True, "message": "Back at noon."})
        assert payload["server"] == {"state": "MAINTENANCE", "maintenanceMessage": "Back at noon."}
        response = await ada.request(GENERATE, input={"prompt": "Ants"})
        (error,) = response.json()["data"]["generateContent"]["errors"]
        assert (error["code"], error["message"]) == ("UNAVAILABLE", "Back at noon.")
        assert (await root.do(GENERATE, input={"prompt": "Mine", "wait": True}))["generation"]["status"] == "SUCCEEDED"
        async with asyncio.timeout(90):
            while (await ada.ask(HISTORY))["viewer"]["history"]["nodes"] != [{"status": "SUCCEEDED"}]:  # noqa: ASYNC110  (as a client polls)
                await asyncio.sleep(0.1)
        assert started["id"]
        for message in ("", "x" * 1001):
            refusal = await root.fail(MAINTENANCE, input={"isOn": True, "message": message})
            assert refusal == ("INVALID_INPUT", ["input", "message"])
        payload = await root.do(MAINTENANCE, input={"isOn": False})
        assert payload["server"] == {"state": "RUNNING", "maintenanceMessage": None}
        await ada.do(GENERATE, input={"prompt": "Ants"})


async def test_who_may_sign_up_is_decided_for_all_instances_at_once(database_url: str) -> None:
    settings, keys = {"sign_up_policy": "INVITE"}, [EncryptionKey.generate()]
    async with (
        at_work(database_url, settings=settings, keys=keys) as running,
        at_work(database_url, settings=settings, keys=keys) as other,
    ):
        root = await running.administrator()
        visitor = await other.visitor()
        await _check_sign_up(visitor, "INVITE", "ada", is_refused=True)
        for policy, name in (("CLOSED", None), ("OPEN", "ada"), ("INVITE", None), ("OPEN", "bob"), (None, None)):
            counts = (await root.do(SIGN_UP, input={"policy": policy}))["server"]["signUpPolicy"]
            assert counts == (policy or "INVITE")
            await _check_sign_up(visitor, counts, name or "eve", is_refused=name is None)
        events = [each["details"] for each in await _audit(root, action=["SIGN_UP_POLICY_CHANGED"])]
        configured, opened = ({"policy": "INVITE", "is_configured": True}, {"policy": "OPEN", "is_configured": False})
        assert len(events) == 5
        assert events[0] == {"before": opened, "after": configured}
        assert events[-1] == {"before": configured, "after": {"policy": "CLOSED", "is_configured": False}}


async def _check_sign_up(visitor: Person, policy: str, name: str, *, is_refused: bool) -> None:
    assert (await visitor.ask("{ server { signUpPolicy } }"))["server"]["signUpPolicy"] == policy
    account = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
    if is_refused:
        assert await visitor.fail(REGISTER, input=account) == ("FORBIDDEN", None)
    else:
        await visitor.do(REGISTER, input=account)


async def test_a_sign_up_policy_is_named_or_taken_back(database_url: str) -> None:
    async with product(database_url) as running:
        root, ada = await running.administrator(), await running.person()
        assert await root.fail(SIGN_UP, input={}) == ("INVALID_INPUT", ["input", "policy"])
        assert await ada.fail(SIGN_UP, input={"policy": "CLOSED"}) == ("FORBIDDEN", None)
        assert (await ada.ask("{ server { signUpPolicy } }"))["server"]["signUpPolicy"] == "OPEN"
        assert await _audit(root, action=["SIGN_UP_POLICY_CHANGED"]) == []


async def test_decisions_at_the_same_moment_are_kept_all(database_url: str) -> None:
    async with product(database_url) as running:
        root = await running.administrator()
        await asyncio.gather(
            root.do(SIGN_UP, input={"policy": "CLOSED"}),
            root.do(MAINTENANCE, input={"isOn": True, "message": "Back at noon."}),
            root.do(SIGN_UP, input={"policy": "CLOSED"}),
            root.do(MAINTENANCE, input={"isOn": True, "message": "Back at noon."}),
        )
        server = (await root.ask("{ server { state signUpPolicy } }"))["server"]
        assert server == {"state": "MAINTENANCE", "signUpPolicy": "CLOSED"}
        # Each of them has seen what was decided just before.
        for action in ("SIGN_UP_POLICY_CHANGED", "MAINTENANCE_CHANGED"):
            last, first = await _audit(root, action=[action])
            assert last["details"]["before"] == first["details"]["after"]


async def test_who_is_signing_up_while_sign_up_is_closed_is_too_late(database_url: str) -> None:
    async with product(database_url) as running:
        root, visitor = await running.administrator(), await running.visitor()
        engine = create_engine(database_url, pool_size=2)
        account = {"email": "eve@example.org", "username": "eve", "password": PASSWORD}
        async with engine.connect() as connection, connection.begin():
            # As if this administrator's decision took its time: whoever signs up waits for it.
            await connection.execute(text("UPDATE server_settings SET sign_up_policy = 'CLOSED'"))
            signing_up = asyncio.create_task(visitor.fail(REGISTER, input=account))
            async with asyncio.timeout(PATIENCE_SECONDS), engine.connect() as looking:
                while not await looking.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):  # noqa: ASYNC110  (there is nothing to wait for)
                    await asyncio.sleep(0.02)
        assert await signing_up == ("FORBIDDEN", None)
        await engine.dispose()
        assert (await root.ask(USERS))["users"]["totalCount"] == 1


async def test_nobody_else_administers(database_url: str) -> None:
    async with product(database_url) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        bob_id = await _id_of(bob)
        for query in (USERS, AUDIT):
            assert (await ada.refused(query))["code"] == "FORBIDDEN"
        assert await ada.fail(UPDATE, input={"id": bob_id, "isActive": False}) == ("FORBIDDEN", None)
        assert await ada.fail(DELETE, input={"id": bob_id}) == ("FORBIDDEN", None)
        assert await ada.fail(MAINTENANCE, input={"isOn": True}) == ("FORBIDDEN", None)
        assert (await ada.http.get("/export/audit", headers=ada.headers)).status_code == 403
        assert (await ada.http.get("/export/audit")).status_code == 401
        assert (await bob.ask(WHO))["viewer"]["username"] == "bob"


async def _audit(root: Person, **filter_: object) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await root.ask(AUDIT, filter=filter_))["auditLog"]["nodes"]
    return nodes


async def test_the_audit_log_is_filtered_and_exported(database_url: str) -> None:
    async with product(database_url) as running:
        root, ada = await running.administrator(), await running.person()
        ada_id = await _id_of(ada)
        await root.do(UPDATE, input={"id": ada_id, "role": "ADMIN"})
        (event,) = await _audit(root, action=["USER_UPDATED"])
        assert event["actor"] == {"username": "root"}
        assert event["ip"] == "127.0.0.1"
        assert event["details"]["before"] == {"role": "USER", "is_active": True}
        assert event["details"]["after"] == {"role": "ADMIN", "is_active": True}
        assert {each["action"] for each in await _audit(root, actor=ada_id)} == {"USER_REGISTERED", "SIGNED_IN"}
        assert await _audit(root, target=event["target"], action=["USER_UPDATED"]) == [event]
        assert await _audit(root, before=event["at"], action=["USER_UPDATED"]) == []
        assert await _audit(root, ip="192.0.2.1") == []
        await _check_export(running, root)


async def _check_export(running: Product, root: Person) -> None:
    pages, after = [], None
    while True:
        log = (await root.ask(AUDIT, first=2, after=after))["auditLog"]
        pages += log["nodes"]
        if not log["pageInfo"]["hasNextPage"]:
            break
        after = log["pageInfo"]["endCursor"]
    assert log["totalCount"] == len(pages)
    response = await root.http.get("/export/audit", headers=root.headers)
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [orjson.loads(line) for line in response.text.splitlines()]
    assert [line["action"] for line in lines] == ["AUDIT_LOG_EXPORTED"] + [page["action"] for page in pages]
    assert lines[1]["target"] == pages[0]["target"]
    filtered = await root.http.get("/export/audit?action=USER_UPDATED", headers=root.headers)
    assert [orjson.loads(line)["action"] for line in filtered.text.splitlines()] == ["USER_UPDATED"]
    for wrong in (
        "action=NOTHING",
        "after=soon",
        "after=2026-01-01T00:00:00",
        "wish=1",
        "actor=me",
        "target=%00",
        "ip=%00",
        "after=0001-01-01T00:00:00%2B14:00",
    ):
        assert (await root.http.get(f"/export/audit?{wrong}", headers=root.headers)).status_code == 400
    assert (await (await running.visitor()).http.get("/export/account")).status_code == 401
