"""What the real client sent, replayed: every request is accepted, and the task page is complete."""

import json
import random
import re
from pathlib import Path

import pytest
from django.utils import timezone

from tasks_sharing.models import Message, Task
from telemetry.models import Event
from tests import factories

FOLDER = Path(__file__).resolve().parents[1] / "recordings"
RECORDINGS = ["task-slug.requests.json", "task-slug-waiting-for-answer.requests.json"]
UI_MESSAGES = json.loads((FOLDER / "task-slug.ui_messages.json").read_text())


def load(name) -> list[dict]:
    return json.loads((FOLDER / name).read_text())


def replay(client, requests, headers):
    """Each request as it was sent, with a token of ours."""
    statuses = set()
    for request in requests:
        if request["path"].endswith("/chat/completions"):
            continue  # recorded without its messages; tests/proxy has completions
        kept = {
            name: value
            for name, value in request["headers"].items()
            if name not in ("authorization", "content-type", "accept-encoding")
        }
        body = None if request["body"] is None else json.dumps(request["body"])
        answer = client.generic(
            request["method"],
            request["path"],
            body or "",
            content_type="application/json",
            headers={**kept, **headers},
        )
        statuses.add(answer.status_code)
    return statuses


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_request_of_the_real_client_is_accepted(client, alice, acme, name):
    assert replay(client, load(name), factories.bearer(alice, acme, "job")) == {200}


def page(client, alice, task_id) -> str:
    client.force_login(alice)
    answer = client.get(f"/task/{task_id}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_task_page_is_complete(client, alice, acme):
    replay(client, load(RECORDINGS[0]), factories.bearer(alice, acme, "job"))
    task = Task.unscoped.get()

    shown = page(client, alice, task.task_id)
    text = " ".join(re.sub("<[^>]+>", " ", shown).split())

    assert task.title.startswith("Make slugify handle accents")
    assert (task.repository_name, task.mode, task.status) == ("acme/slug", "code", "completed")
    for said in (
        "They fail as expected", "Create test_slug.py", "Edit slug.py", "Write tests for accents",
        "creme-brulee", "python3 -m unittest", "Alice Archer", "demo/coder",
    ):  # fmt: skip
        assert said in text, said
    assert "<script>alert" not in shown  # J1: the hostile closing text
    assert "<img" not in shown.partition('class="talk"')[2]


def test_the_arrival_order_changes_nothing(client, alice, bob, acme):
    """Trap 23."""
    requests = [r for r in load(RECORDINGS[0]) if r["path"] == "/api/events"]
    replay(client, requests, factories.bearer(alice, acme, "job"))
    rng = random.Random(3)  # noqa: S311 - repeatable, not secret
    for person in (bob,):
        shuffled = rng.sample(requests, len(requests))
        replay(client, shuffled, factories.bearer(person, acme, "job"))

    one, other = Task.unscoped.order_by("created_at")

    def facts(task):
        bodies = task.messages.order_by("ts", "type", "kind").values_list("ts", "kind", "body")
        return task.title, task.tokens_in, task.tokens_out, task.cost_nanos, list(bodies)

    assert facts(one) == facts(other)


def test_the_same_events_again_change_the_conversation_not(client, alice, acme):
    requests = [
        r for r in load(RECORDINGS[0])
        if r["path"] == "/api/events" and r["body"]["type"] == "Task Message"
    ]  # fmt: skip
    headers = factories.bearer(alice, acme, "job")
    replay(client, requests, headers)
    before = Message.unscoped.count()
    replay(client, requests, headers)
    assert Message.unscoped.count() == before


def test_retried_events_count_once(client, alice, acme):
    """D4"""
    requests = [r for r in load(RECORDINGS[0]) if r["path"] == "/api/events"]
    headers = {**factories.bearer(alice, acme, "job"), "X-Retry-Queue": "true"}
    replay(client, requests, headers)
    counted_once = Event.unscoped.filter(type__in=["Task Message", "LLM Completion"])
    task, count = Task.unscoped.get(), counted_once.count()

    assert replay(client, requests, headers) == {200}

    again = Task.unscoped.get()
    assert (again.tokens_in, again.cost_nanos) == (task.tokens_in, task.cost_nanos)
    assert counted_once.count() == count


@pytest.mark.django_db(transaction=True)
def test_a_backfill_of_the_clients_own_file_is_the_whole_task(client, alice, acme):
    """D5: the snapshot replaces what had arrived."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    headers = factories.bearer(alice, acme, "job")
    replay(client, load(RECORDINGS[1]), headers)
    task = Task.unscoped.get()
    file = SimpleUploadedFile("task.json", json.dumps(UI_MESSAGES).encode(), "application/json")

    answer = client.post(
        "/api/events/backfill",
        {"taskId": task.task_id, "properties": json.dumps({"taskId": task.task_id}), "file": file},
        headers=headers,
    )

    assert answer.json() == {"success": True, "accepted": len(UI_MESSAGES), "rejected": 0}
    stored = [
        json.loads(body)
        for body in task.messages.order_by("ts", "pk").values_list("body", flat=True)
    ]
    assert stored == UI_MESSAGES
    assert timezone.now() > Task.unscoped.get().backfilled_at
    shown = page(client, alice, task.task_id)
    assert "FAILED (failures=3)" in shown
    assert '<span class="ansi-red">red</span>' in shown
