"""D4, D5: a process that dies between two statements leaves nothing half-written, and what the client
or the sweep sends again counts once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import connection
from django.utils import timezone

from tasks_sharing.models import Message, Task
from telemetry import actions
from telemetry.models import Backfill, Event
from tests import factories
from tests.telemetry.test_events import TASK, upload

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """No handler of ours catches it: what runs after it is the rollback alone."""


@contextmanager
def killed_at(statement: int) -> Iterator[list[bool]]:
    """Die before a statement, counted from zero. Yields a list that has an element if that came."""
    came, seen = [], -1

    def cut(execute, sql, params, many, context):
        nonlocal seen
        seen += 1
        if seen == statement:
            came.append(True)
            raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(cut), suppress(Killed):
        yield came


def rows() -> list[tuple]:
    found = Message.unscoped.order_by("ts", "type", "kind")
    return list(found.values_list("ts", "type", "kind", "body"))


def snapshot(version: int) -> list[dict]:
    size = 1 + version % 5
    return [{"ts": n, "type": "say", "say": "text", "text": f"{version}.{n}"} for n in range(size)]


def test_three_hundred_cuts_leave_the_old_conversation_or_the_new(client, bob):
    """D5"""
    kills = version = 0
    upload(client, bob, snapshot(0))
    while kills < 300:
        version += 1
        Backfill.unscoped.all().delete()
        before = rows()
        upload(client, bob, snapshot(version))
        job = Backfill.unscoped.get()
        seen, statement = [], 0
        while True:
            Backfill.unscoped.update(state="queued", attempts=0)  # as the sweep finds it
            with killed_at(statement) as came:
                actions.run_backfill(job_id=job.pk, at=timezone.now())
            seen.append(rows())
            if not came:
                break
            kills, statement = kills + 1, statement + 1
        after = seen[-1]
        assert [row[3] for row in after] != [row[3] for row in before]
        assert len(after) == 1 + version % 5 + sum(row[0] > version % 5 for row in before)
        assert all(conversation in (before, after) for conversation in seen)
        assert Backfill.unscoped.get().state == "done"


def test_fifty_cuts_and_a_repeat_count_an_event_once(client, bob):
    """D4: the client sends it again when it has no 2xx."""
    headers = {**factories.bearer(bob), "X-Retry-Queue": "true"}
    kills = number = 0
    while kills < 50:
        number += 1
        properties = {"taskId": TASK, "cost": 1.5, "inputTokens": number, "outputTokens": 1}
        body = {"type": "LLM Completion", "properties": properties}
        statement = 0
        while True:
            with killed_at(statement) as came:
                answer = client.post(
                    "/api/events", body, content_type="application/json", headers=headers
                )
            stored = Event.unscoped.count()
            assert stored in (number - 1, number)
            task = Task.unscoped.filter(task_id=TASK).first()
            assert (task.cost_nanos if task else 0) == stored * 1_500_000_000
            if not came:
                break
            kills, statement = kills + 1, statement + 1
        assert answer.status_code == 200
        assert stored == number
