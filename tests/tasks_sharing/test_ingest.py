"""What recording a message costs, and that a short memory of the task never misleads it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orgs.models import Membership
from tasks_sharing.models import Message, Task
from telemetry import actions
from tests import factories
from tests.tasks_sharing.everything import messages

TASK = "t-1"


def queries_of(act) -> int:
    """Statements that read or write rows."""
    with CaptureQueriesContext(connection) as captured:
        act()
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return sum(query["sql"].startswith(verbs) for query in captured.captured_queries)


@pytest.fixture
def hear(alice, acme):
    """``hear(message)``: an editor of alice's, in acme, tells of it."""
    actor = factories.actor(alice, acme)

    def hear(message, **facts):
        properties = {"taskId": TASK, "mode": "code", **facts, "message": message}
        event = actions.read_event({"type": "Task Message", "properties": properties})
        actions.record_events(actor=actor, events=[event], is_retry=False, at=factories.NOON)

    return hear


def text(ts, said="Hello", **more):
    return {"ts": ts, "type": "say", "say": "text", "text": said, **more}


def test_a_message_costs_three_queries(hear):
    """Every kind, live: new, and again as it was while it streamed. Images cost their own, and
    every five seconds a process asks once whether the organization records messages."""
    rows = [row for row in messages() if not row.get("images") and "data:image" not in str(row)]
    hear(rows[0])

    for row in [*rows, *rows]:
        assert queries_of(lambda row=row: hear(row)) <= 3, row

    assert Message.unscoped.count() == len({(r["ts"], r["type"], r[r["type"]]) for r in rows})


def test_a_task_that_was_deleted_meanwhile_begins_anew(hear):
    hear(text(1))
    Task.unscoped.all().delete()

    hear(text(2, "Again"))

    assert Task.unscoped.get().title == "Again"
    assert Message.unscoped.get().ts == 2


def test_who_left_the_organization_reaches_its_task_no_more(hear, alice, acme, bob):
    """A4: at once, whatever is remembered of the task."""
    hear(text(1, "Before"))
    task = Task.unscoped.get()
    before = task.last_activity_at
    actor = factories.actor(alice, acme)
    Membership.unscoped.filter(user=alice).delete()

    event = actions.read_event(
        {"type": "Task Message", "properties": {"taskId": TASK, "message": text(1, "After")}}
    )
    actions.record_events(actor=actor, events=[event], is_retry=False, at=factories.NOON)

    task.refresh_from_db()
    assert (task.title, task.last_activity_at) == ("Before", before)
    assert "Before" in Message.unscoped.get().body


def test_facts_title_and_end_come_with_the_message(hear):
    hear(text(5, "Later"), modelId="v/one")
    hear(text(3, "First"), modelId="v/two")
    hear(text(9, "Last"))
    hear({"ts": 10, "type": "say", "say": "completion_result", "text": "Done"})

    task = Task.unscoped.get()
    assert (task.title, task.title_ts) == ("First", 3)
    assert (task.model, task.mode, task.status) == ("v/two", "code", "completed")
