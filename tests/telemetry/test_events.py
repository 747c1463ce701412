"""D4, D5, F5: events and uploads of any shape."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.utils import timezone

from roocloud.lib import wire
from tasks_sharing.models import Message, Task
from telemetry import actions
from telemetry.models import Backfill, Event
from tests import factories

TASK = "01a1fc28-e533-74cc-bdea-72d893efeccd"
NASTY = "nul \x00 lone \ud83d end \udc00"


def send(client, person, body, org=None, path="/api/events", **headers):
    return client.post(
        path,
        body if isinstance(body, bytes) else wire.dumps(body),
        content_type="application/json",
        headers={**factories.bearer(person, org), **headers},
    )


def message(text="Hello", ts=1, **more):
    fields = {"ts": ts, "type": "say", "say": "text", "text": text, **more}
    return {"type": "Task Message", "properties": {"taskId": TASK, "message": fields}}


def upload(client, person, messages, *, task_id=TASK, properties="{}", org=None):
    body = messages if isinstance(messages, bytes) else wire.dumps(messages).encode()
    file = SimpleUploadedFile("task.json", body, "application/json")
    fields = {"properties": properties, "file": file}
    if task_id is not None:
        fields["taskId"] = task_id
    return client.post("/api/events/backfill", fields, headers=factories.bearer(person, org))


class TestEvents:
    @pytest.mark.parametrize(
        ("body", "count"),
        [
            ({"type": "Tool Used", "properties": {}}, 1), ({"name": "Tool Used"}, 1),
            ({"type": "A", "name": "B"}, 1), ([{"type": "A"}, {"name": "B"}], 2),
            ({"events": [{"type": "A"}]}, 1), ({"type": "From the future", "properties": {"x": [1]}}, 1),
            ([], 0),
        ],
    )  # fmt: skip
    def test_every_form_is_stored(self, client, bob, body, count):
        assert send(client, bob, body).json() == {"success": True, "accepted": count}
        assert Event.unscoped.count() == count

    def test_type_wins_over_name(self, client, bob):
        send(client, bob, {"type": "A", "name": "B"})
        assert Event.unscoped.get().type == "A"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"", None), (b"{", None), (b"\xff", None), (b"5", None), ({}, "type"), ({"type": ""}, "type"),
            ({"type": 5}, "type"), ({"type": "A", "properties": []}, "properties"),
            ([{"type": "A"}, {}], "events[1].type"), (b'{"type": "A", "properties": {"x": NaN}}', None),
            (b'{"type": "A", "properties": {"cost": 1e999}}', None), (b'[-1e999]', None),
        ],
    )  # fmt: skip
    def test_bad_bodies_get_a_400_that_names_the_field(self, client, bob, body, field):
        """F5"""
        answer = send(client, bob, body)
        assert answer.status_code == 400
        assert answer.json().get("field") == field
        assert not Event.unscoped.exists()

    @pytest.mark.parametrize(
        "properties",
        [
            {"taskId": 5}, {"taskId": "a/b"}, {"taskId": "x" * 500}, {"taskId": "\x00"},
            {"taskId": TASK, "mode": 5, "modelId": None, "repositoryName": ["x"]},
            {"taskId": TASK, "message": None}, {"taskId": TASK, "message": {"ts": "x"}},
            {"taskId": TASK, "message": {"ts": -1}}, {"taskId": TASK, "message": {"ts": 1e300}},
            {"taskId": TASK, "message": {"ts": 1, "say": 5, "text": {"a": 1}, "images": "x"}},
            {"taskId": TASK, "message": {"ts": 1.5, "type": "other"}},
        ],
    )  # fmt: skip
    def test_broken_optional_properties_never_lose_the_event(self, client, bob, properties):
        """D4: a 4xx would make the client drop it, a 5xx send it for ever."""
        assert (
            send(client, bob, {"type": "Task Message", "properties": properties}).status_code == 200
        )
        assert Event.unscoped.count() == 1

    @pytest.mark.parametrize("cost", [1e300, -5, "0.1", None, True, [], 1e-12])
    def test_hostile_costs_do_no_harm(self, client, bob, cost):
        properties = {"taskId": TASK, "inputTokens": cost, "outputTokens": 2, "cost": cost}
        assert (
            send(client, bob, {"type": "LLM Completion", "properties": properties}).status_code
            == 200
        )
        assert Task.unscoped.get().cost_nanos >= 0

    def test_costs_add_up_exactly(self, client, bob):
        for cost in (0.1, 0.2, 0.00624):
            properties = {"taskId": TASK, "inputTokens": 1, "outputTokens": 1, "cost": cost}
            send(client, bob, {"type": "LLM Completion", "properties": properties})
        assert Task.unscoped.get().cost_nanos == 306_240_000

    def test_any_text_survives(self, client, bob):
        """F5: NUL and lone surrogates, on either database."""
        send(client, bob, message(NASTY))
        assert wire.loads(Message.unscoped.get().body.encode())["text"] == NASTY
        client.force_login(bob)
        assert client.get(f"/task/{TASK}").status_code == 200
        assert client.get("/tasks").status_code == 200

    def test_two_kinds_of_one_millisecond_are_two(self, client, bob):
        """Trap 23."""
        send(client, bob, message("a"))
        send(client, bob, message("b", say="reasoning"))
        send(client, bob, message("c"))
        assert Message.unscoped.count() == 2
        assert "c" in Message.unscoped.get(kind="text").body

    def test_a_foreign_task_is_another_persons_own(self, client, alice, bob):
        """D5: an id that is alice's says nothing to bob, and his events never reach her task."""
        send(client, alice, message("alice's"))
        send(client, bob, message("bob's", ts=2))
        assert [t.messages.count() for t in Task.unscoped.order_by("created_at")] == [1, 1]

    def test_a_retry_under_another_account_is_dropped(self, client, alice, bob):
        """Trap 26."""
        send(client, alice, message("alice's"))
        answer = send(client, bob, message("late", ts=2), **{"X-Retry-Queue": "true"})
        assert answer.status_code == 200
        assert Task.unscoped.get().owner == alice
        assert Message.unscoped.count() == 1

    def test_equal_events_of_one_list_are_several(self, client, bob):
        used = {"type": "Tool Used", "properties": {"taskId": TASK}}
        spent = {"type": "LLM Completion", "properties": {"taskId": TASK, "cost": 0.5}}
        for path, retry in (("/api/events", True), ("/api/events/backfill", False)):
            Event.unscoped.all().delete()
            Task.unscoped.all().delete()
            headers = {"X-Retry-Queue": "true"} if retry else {}
            body = [used, used, used, spent, spent]
            assert send(client, bob, body, path=path, **headers).json()["accepted"] == 5
            assert Task.unscoped.get().cost_nanos == 10**9
            again = send(client, bob, body, path=path, **headers).json()["accepted"]
            assert again == 3  # what tools were used; what was spent counts once
            assert Task.unscoped.get().cost_nanos == 10**9

    def test_the_first_organization_owns_the_task(self, client, alice, acme):
        send(client, alice, message(), org=acme)
        send(client, alice, message("later", ts=2))
        assert Task.unscoped.get().organization == acme

    @pytest.mark.django_db(transaction=True)
    def test_recording_switched_off_keeps_no_message(self, client, alice, acme):
        """Trap 20: absent means off, too."""
        from orgs import documents
        from orgs.actions import current_revision, save_settings

        document = documents.dump(documents.DEFAULT)
        del document["cloudSettings"]["recordTaskMessages"]
        save_settings(
            organization=acme, document=document, read_version=current_revision(acme).version,
            by=factories.actor(alice, acme), at=timezone.now(),
        )  # fmt: skip
        assert send(client, alice, message(), org=acme).status_code == 200
        assert not Message.unscoped.exists()
        assert (
            upload(client, alice, [message()["properties"]["message"]], org=acme).status_code == 200
        )
        assert Message.unscoped.count() == 1  # an explicit backfill is

    def test_a_batch_is_stored_whole_or_not_at_all(self, client, bob):
        """D4"""
        assert send(client, bob, [message(), {"type": 5}]).status_code == 400
        assert not Event.unscoped.exists()
        assert not Task.unscoped.exists()


def at_once(*calls):
    """What the calls returned, each in a thread with a connection of its own, started together."""
    start = Barrier(len(calls))

    def run(call):
        start.wait(10)
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """D4: clients send events without waiting for each other; 2 DB."""

    def record(self, person, body, *, is_retry=False):
        event = actions.read_event(body)
        actor = factories.actor(person)
        return lambda: actions.record_events(
            actor=actor, events=[event], is_retry=is_retry, at=timezone.now()
        )

    def test_the_earliest_text_is_the_title(self, bob):
        for number in range(30):
            prompt, answer = message("The prompt", ts=1), message("The answer", ts=2)
            for body in (prompt, answer):
                body["properties"]["taskId"] = f"task-{number}"
            created = {"type": "Task Created", "properties": {"taskId": f"task-{number}"}}
            self.record(bob, created)()
            at_once(self.record(bob, answer), self.record(bob, prompt))
        assert set(Task.unscoped.values_list("title", flat=True)) == {"The prompt"}

    def test_repeats_of_a_completion_cost_once(self, bob):
        properties = {"taskId": TASK, "cost": 0.5, "inputTokens": 3, "outputTokens": 2}
        completion = {"type": "LLM Completion", "properties": properties}
        for is_known in (False, True):
            if is_known:
                self.record(bob, {**completion, "properties": {**properties, "cost": 0.25}})()
            again = self.record(bob, completion, is_retry=True)
            counted = at_once(again, again, again, again)
            assert sum(counted) == (0 if is_known else 1)
        task = Task.unscoped.get()
        assert (task.cost_nanos, task.tokens_in) == (750_000_000, 6)


@pytest.mark.django_db(transaction=True)
class TestBackfill:
    MESSAGES = [
        {"ts": 1, "type": "say", "say": "text", "text": NASTY},
        {"ts": 2, "type": "ask", "ask": "followup", "text": "{}", "partial": True},
        {"no": "ts"}, 5, None,
        {"ts": 2, "type": "ask", "ask": "followup", "text": "later"},
    ]  # fmt: skip

    def test_stores_what_has_a_place_and_passes_over_the_rest(self, client, bob):
        assert upload(client, bob, self.MESSAGES).status_code == 200
        assert Message.unscoped.count() == 2
        assert Backfill.unscoped.get().state == "done"

    def test_replaces_what_was_there_up_to_its_own_end(self, client, bob):
        send(client, bob, message("gone", ts=1, say="reasoning"))
        send(client, bob, message("recorded since", ts=3))
        upload(client, bob, self.MESSAGES)
        assert list(Message.unscoped.order_by("ts").values_list("ts", "kind")) == [
            (1, "text"), (2, "followup"), (3, "text"),
        ]  # fmt: skip

    def test_run_again_undoes_nothing_that_came_since(self, client, bob):
        upload(client, bob, self.MESSAGES)
        job = Backfill.unscoped.get()
        send(client, bob, message("changed since", ts=1))
        actions.replay(job=job, by=factories.actor(bob), at=timezone.now())
        assert "changed since" in Message.unscoped.get(ts=1).body
        job.refresh_from_db()
        assert (job.state, job.message_count) == ("done", 2)

    def test_a_message_that_ended_since_stays_ended(self, client, bob):
        send(client, bob, message("whole", ts=7, say="completion_result", partial=False))
        caught = {"ts": 7, "type": "say", "say": "completion_result", "text": "wh", "partial": True}
        upload(client, bob, [caught])
        assert "whole" in Message.unscoped.get().body
        assert Task.unscoped.get().status == "completed"

    @pytest.mark.parametrize(
        ("last", "status"),
        [
            ({"say": "completion_result", "partial": False}, "completed"),
            ({"say": "completion_result"}, "completed"),
            ({"say": "completion_result", "partial": True}, "running"),
            ({"type": "ask", "ask": "resume_completed_task"}, "completed"),
            ({"say": "user_feedback"}, "running"),
        ],
    )
    def test_the_last_message_says_whether_the_task_runs(self, client, bob, last, status):
        first = {"ts": 8, "type": "say", "say": "text", "text": "Do it"}
        if status == "running":
            send(client, bob, {"type": "Task Completed", "properties": {"taskId": TASK}})
        upload(client, bob, [first, {"ts": 9, "type": "say", "text": "x", **last}])
        assert Task.unscoped.get().status == status
        send(client, bob, {"type": "Task Completed", "properties": {"taskId": TASK}})
        send(client, bob, message("since", ts=10))
        upload(client, bob, [first, {"ts": 9, "type": "say", "text": "x", **last}])
        assert Task.unscoped.get().status == "completed"  # later messages know better

    def test_the_same_again_changes_nothing(self, client, bob):
        """D5"""
        for _ in range(2):
            upload(client, bob, self.MESSAGES)
        job = Backfill.unscoped.order_by("received_at").last()
        actions.replay(job=job, by=factories.actor(bob), at=timezone.now())
        actions.run_backfill(job_id=job.pk, at=timezone.now())
        assert Message.unscoped.count() == 2

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"messages": b"{"}, "file"), ({"messages": b"\xff"}, "file"), ({"messages": {"a": 1}}, "file"),
            ({"messages": b'[{"ts": 1, "cost": 1e999}]'}, "file"), ({"messages": [], "properties": '{"x": 1e999}'}, "properties"),
            ({"messages": [], "task_id": None}, "taskId"), ({"messages": [], "task_id": "a b"}, "taskId"),
            ({"messages": [], "properties": "{"}, "properties"), ({"messages": [], "properties": "5"}, "properties"),
        ],
    )  # fmt: skip
    def test_bad_uploads_get_a_400_and_leave_nothing(self, client, bob, fields, field):
        """D5"""
        answer = upload(client, bob, **fields)
        assert answer.status_code == 400
        assert answer.json()["field"] == field
        assert not Backfill.unscoped.exists()
        assert not Task.unscoped.exists()

    def test_an_upload_without_a_file_is_named(self, client, bob):
        answer = client.post(
            "/api/events/backfill", {"taskId": TASK}, headers=factories.bearer(bob)
        )
        assert (answer.status_code, answer.json()["field"]) == (400, "file")

    def test_the_guides_forms_work(self, client, bob):
        path = "/api/events/backfill"
        answer = send(client, bob, [message(), {"name": "Tool Used"}], path=path)
        assert answer.json() == {"success": True, "accepted": 2, "rejected": 0}
        whole = {"taskId": TASK, "messages": [{"ts": 5, "type": "say", "say": "text", "text": "x"}]}
        assert send(client, bob, whole, path=path).json()["accepted"] == 1
        assert Message.unscoped.get().ts == 5

    def test_a_foreign_task_is_left_alone(self, client, alice, bob):
        """D5"""
        send(client, alice, message("alice's"))
        upload(client, bob, self.MESSAGES)
        assert Task.unscoped.get(owner=alice).messages.count() == 1

    def test_a_lost_job_is_sent_again_and_a_lost_file_gives_up(self, client, bob):
        upload(client, bob, self.MESSAGES)
        job = Backfill.unscoped.get()
        Message.unscoped.all().delete()
        Task.unscoped.update(backfilled_at=None)
        later = timezone.now() + timedelta(minutes=10)
        Backfill.unscoped.update(state="queued")
        assert actions.due_backfills(at=later) == [job.pk]
        actions.run_backfill(job_id=job.pk, at=later)
        assert Message.unscoped.count() == 2

        job.body.delete(save=False)
        Backfill.unscoped.update(state="queued", attempts=0)
        for _ in range(actions.MAX_ATTEMPTS):
            actions.run_backfill(job_id=job.pk, at=later)
        assert Backfill.unscoped.get().state == "failed"

    def test_a_job_that_never_ends_is_given_up(self, client, bob):
        upload(client, bob, self.MESSAGES)
        Message.unscoped.all().delete()
        job = Backfill.unscoped.get()
        Backfill.unscoped.update(state="queued", attempts=actions.MAX_ATTEMPTS)
        actions.run_backfill(job_id=job.pk, at=timezone.now())
        job.refresh_from_db()
        assert (job.state, job.error) == ("failed", "interrupted")
        assert not Message.unscoped.exists()

    @pytest.mark.parametrize(
        "body", [b'[{"ts": 1, "cost": 1e999}]', b"{", b"\xff", b"5", b"[" * 10_000]
    )
    def test_a_document_that_cannot_be_stored_ends_at_once(self, client, bob, body):
        """The editor is asked for another, and the page says so instead of "being prepared"."""
        actor = factories.actor(bob)
        file = SimpleUploadedFile("task.json", body)
        actions.accept_backfill(
            actor=actor, task_id=TASK, properties={}, body=file, at=timezone.now()
        )
        job, task = Backfill.unscoped.get(), Task.unscoped.get()
        assert (job.state, job.attempts) == ("failed", 1)
        assert (task.is_awaited, task.backfilled_at) == (False, None)
        client.force_login(bob)
        page = client.get(f"/task/{TASK}").content
        assert b"could not be stored" in page
        assert b"being prepared" not in page
        ask = {"taskId": TASK, "visibility": "public"}
        assert send(client, bob, ask, path="/api/extension/share").status_code == 404

        upload(client, bob, self.MESSAGES)
        assert b"could not be stored" not in client.get(f"/task/{TASK}").content
        assert send(client, bob, ask, path="/api/extension/share").json()["success"] is True

    def test_a_failure_says_nothing_of_a_later_upload(self, client, bob):
        upload(client, bob, self.MESSAGES)
        first = Backfill.unscoped.get()
        later = timezone.now()
        Task.unscoped.update(backfill_requested_at=later)
        Backfill.unscoped.update(state="queued", attempts=actions.MAX_ATTEMPTS)
        actions.run_backfill(job_id=first.pk, at=later)
        assert Task.unscoped.get().backfill_requested_at == later
        assert Task.unscoped.get().backfill_failed_at is None

    @pytest.mark.parametrize("way", ["the page", "its owner"])
    def test_uploads_go_with_their_task(self, client, bob, way):
        upload(client, bob, self.MESSAGES)
        path = Path(Backfill.unscoped.get().body.path)
        if way == "the page":
            client.force_login(bob)
            client.post(f"/task/{TASK}/delete")
        else:
            bob.delete()
        assert not Backfill.unscoped.exists()
        assert not path.exists()

    def test_a_job_whose_task_is_gone_ends(self, client, bob):
        upload(client, bob, self.MESSAGES)
        job = Backfill.unscoped.get()
        Backfill.unscoped.update(state="queued", task_pk="task_gone")
        actions.run_backfill(job_id=job.pk, at=timezone.now())
        assert not Backfill.unscoped.exists()
        assert not Path(job.body.path).exists()

    def test_uploads_are_purged(self, client, bob, settings):
        upload(client, bob, self.MESSAGES)
        later = timezone.now() + settings.ROOCLOUD_BACKFILL_KEEP + timedelta(seconds=1)
        path = Backfill.unscoped.get().body.path
        assert actions.purge_backfills(at=later) == 1
        assert not Path(path).exists()

    def test_storing_takes_as_many_queries_for_120_messages_as_for_30(
        self, client, bob, django_assert_max_num_queries, django_assert_num_queries
    ):
        from tasks_sharing import actions as tasks

        upload(client, bob, self.MESSAGES)
        pk = Task.unscoped.get().pk

        def store(count):
            rows = [{"ts": n, "type": "say", "say": "text", "text": "x"} for n in range(count)]
            tasks.replace_messages(task_pk=pk, messages=rows, requested_at=timezone.now())

        with django_assert_max_num_queries(18) as few:  # six of them for the words
            store(30)
        with django_assert_num_queries(len(few.captured_queries)):
            store(120)  # SQLite takes 999 values a statement, and a message has eight
