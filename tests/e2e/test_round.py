"""The whole round, as a client plays it, against servers in processes of their own."""

import asyncio
import time

import aiohttp
import pytest
from django.db import connection

from roocloud.editor import Editor

PASSWORD = "correct horse battery"
#: 600 fresh and 400 cached input tokens and 50 of output, at $3, $0.30 and $15 a million.
COST = (600 * 3 + 400 * 0.3 + 50 * 15) / 1e6


#: What the scheduler does half a minute later, at the time when it would.
SWEEP = """
from datetime import timedelta
from django.utils import timezone
from credits.models import Entry
from proxy import admission
from proxy.models import Completion
admission.settle_orphans(at=timezone.now() + admission.ORPHANED_AFTER)
row = Completion.unscoped.select_related("hold__account").get()
account = row.hold.account
print(row.status, row.cost_nanos, row.held_nanos, account.balance_nanos, Entry.unscoped.count())
"""


PEOPLE = [
    "create_user", "alice@acme.example", "--password", PASSWORD, "--first-name", "Alice",
    "--org", "Acme", "--credit", "5",
]  # fmt: skip
TOKEN = ["create_job_token", "alice@acme.example", "--org", "Acme"]


def models(upstream, upstream_key, *, name="acme/coder", upstream_model="plain") -> list[list[str]]:
    """The commands that offer a model."""
    return [
        ["create_upstream", "fake", "--base-url", upstream.url, "--api-key", upstream_key],
        ["create_model", name, "--upstream", "fake", "--upstream-model", upstream_model,
         "--input-price", "3", "--output-price", "15", "--cached-input-price", "0.3"],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def deployment(launch, upstream, upstream_key):
    """Two processes on PostgreSQL and Redis, one on SQLite; a priced model on a fake upstream."""
    made = launch.embedded(processes=2 if connection.vendor == "postgresql" else 1)
    made.manage_all(PEOPLE, *models(upstream, upstream_key))
    return made


@pytest.fixture(scope="module")
def token(deployment) -> str:
    return deployment.manage(*TOKEN)


async def test_a_client_plays_the_whole_round(deployment):
    async with Editor(deployment.urls) as editor:
        await editor.sign_in("alice@acme.example", PASSWORD, organization_id="")
        await editor.refresh()
        person = await editor.who_am_i()
        assert person["email_addresses"][0]["email_address"] == "alice@acme.example"

        both = await editor.read_settings()
        version = await editor.write_settings(
            {"taskSyncEnabled": False}, version=both["user"]["version"]
        )
        assert version > both["user"]["version"]
        assert await editor.list_models() == ["acme/coder"]
        await editor.sign_out()


async def test_a_completion_lowers_the_balance_by_exactly_its_cost(deployment, token):
    async with Editor(deployment.urls) as editor:
        editor.jwt = token
        before = await editor.balance()

        text = await editor.complete("acme/coder")

        assert text == "Hello from the fake upstream."
        assert editor.cost_usd == pytest.approx(COST, abs=1e-12)
        assert await editor.expect_balance(before - COST) == pytest.approx(before - COST, abs=1e-12)


async def test_tasks_are_recorded_and_shared(deployment, token):
    async with Editor(deployment.urls) as editor:
        editor.jwt = token
        await editor.record_task()

        known = await editor.share_known()
        again = await editor.share(editor.task_id)
        unknown = await editor.share_unknown(body_bytes=3_000_000)

        assert again == {**again, "shareUrl": known, "isNewShare": False}
        assert unknown != known


@pytest.mark.postgresql
async def test_what_one_process_stores_is_watched_on_another(deployment, token):
    """D8: over Redis, and not at the next look of the process that is watched."""
    here, there = deployment.urls
    async with Editor([there]) as reader, aiohttp.ClientSession() as editor:
        await reader.sign_in("alice@acme.example", PASSWORD, organization_id="")

        async def say(ts: int, text: str) -> None:
            message = {"ts": ts, "type": "say", "say": "text", "text": text}
            body = {"type": "Task Message", "properties": {"taskId": "watched", "message": message}}
            headers = {"Authorization": f"Bearer {token}"}
            async with editor.post(f"{here}/api/events", json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()

        await say(1, "The first message")
        async with (
            asyncio.timeout(30),
            reader._http.get(f"{there}/task/watched/live") as stream,
        ):
            assert stream.status == 200
            told = await stream.content.readuntil(b"event: state\n")
            number = 1
            while b"event: changed" not in told:
                number += 1  # the first may come before the other process listens
                await say(number, f"Message {number}")
                told = await stream.content.readuntil(b"event: ")
                told += await stream.content.readuntil(b"\n\n")
        news = await reader._page(f"{there}/task/watched/news?page=1")
        assert "Message 2" in news


def test_the_commands_may_be_run_again(deployment):
    *_, checked = deployment.manage_all(PEOPLE, PEOPLE, ["check_ledger"])
    assert checked == "Every balance is the sum of its entries."


async def kill_after(deployment, deadline, answer) -> None:
    async for _ in answer.content.iter_any():
        if time.monotonic() > deadline:
            deployment.kill()


async def test_a_completion_survives_the_death_of_its_server(launch, upstream, upstream_key):
    """C4: killed in the middle of a stream, it is charged for what had passed, and no more."""
    made = launch.embedded()
    endless = models(upstream, upstream_key, name="acme/endless", upstream_model="endless")
    *_, token = made.manage_all(PEOPLE, *endless, TOKEN)
    body = {
        "model": "acme/endless",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        url = f"{made.urls[0]}/proxy/v1/chat/completions"
        async with session.post(url, json=body) as answer:
            started = time.monotonic()
            with pytest.raises(aiohttp.ClientError):
                await kill_after(made, started + 5, answer)

    swept, checked = made.manage_all(["shell", "-c", SWEEP], ["check_ledger"])

    status, cost, held, balance, entries = swept.splitlines()[-1].split()
    assert status == "orphaned"
    assert 0 < int(cost) <= int(held)
    assert int(balance) == 5 * 10**9 - int(cost)
    assert entries == "2"
    assert checked == "Every balance is the sum of its entries."


def test_the_doctor_finds_a_healthy_server_healthy(deployment):
    seen = deployment.manage("doctor")

    assert "The whole round works." in seen
    assert "✗" not in seen


@pytest.mark.postgresql
def test_production_works_as_the_operators_guide_sets_it_up(launch, upstream, upstream_key):
    """Behind TLS, with two web processes, a worker and a scheduler."""
    made = launch.production()
    root = ["create_user", "root@example.com", "--password", PASSWORD, "--staff"]
    made.manage_all(root, *models(upstream, upstream_key))

    seen = made.manage("doctor")

    assert "acme/coder" in seen
    assert "The whole round works." in seen
    assert "Traceback" not in "".join(log.read_text() for log in made.folder.glob("*.log"))


def test_without_an_upstream_the_demo_answers_and_says_what_it_is(launch):
    made = launch.embedded()

    seen = made.manage("doctor")

    assert "demo/coder" in seen
    assert "The whole round works." in seen


def test_a_first_administrator_is_made_once(launch):
    made = launch.embedded(
        is_first_start=True,
        env={
            "ROOCLOUD_ADMIN_EMAIL": "root@example.com",
            "ROOCLOUD_UPSTREAM_BASE_URL": "http://127.0.0.1:9/v1",
        },
    )

    made.manage("check")
    log = next(made.folder.glob("server-*.log")).read_text()
    assert "Password (shown this once): " in log
    assert log.count("First administrator: root@example.com") == 1
    assert "No model is offered yet" in log
