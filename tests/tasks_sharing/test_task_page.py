"""The pages of a conversation: its parts, what is cached, its files, and their bounds."""

import json
import re
import subprocess
from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks_sharing import actions, markup, queries
from tasks_sharing.models import Message, Task
from tasks_sharing.transcript import WINDOW, Transcript
from tests import factories
from tests.tasks_sharing.everything import BEGAN, SETTINGS_BEFORE, messages, say, tool

TASK = "t-1"


def store(person, org, rows, at=None) -> Task:
    at = at or timezone.now()
    actor = factories.actor(person, org)
    actions.record_event(actor=actor, event=actions.Event("Task Created", {"taskId": TASK}), at=at)
    task = Task.unscoped.get(task_id=TASK)
    task.messages.all().delete()
    actions.replace_messages(task_pk=task.pk, messages=rows, requested_at=at)
    return Task.unscoped.get(task_id=TASK)


def hear(person, org, message) -> None:
    event = actions.Event("Task Message", {"taskId": TASK, "message": message})
    actions.record_event(actor=factories.actor(person, org), event=event, at=timezone.now())


def texts(count, start=0):
    return [{"ts": BEGAN + n, **say("text", f"message {n}.")} for n in range(start, start + count)]


async def _joined(answer) -> bytes:
    return b"".join([piece async for piece in answer])


@pytest.fixture
def task(alice, acme):
    return store(alice, acme, messages())


@pytest.fixture
def mine(client, alice, task):
    client.force_login(alice)
    return client


@pytest.fixture
def link(alice, acme, task):
    """The path of its public page."""
    url = actions.share_task(
        actor=factories.actor(alice, acme), task_id=TASK, visibility="public", at=timezone.now()
    ).url
    return url[url.index("/share/") :]


class TestWhatAReaderLearnsFirst:
    def test_how_it_ended_and_what_came_of_it(self, mine):
        shown = mine.get(f"/task/{TASK}").content.decode()
        top = shown.partition('class="talk"')[0]
        for said in (
            "Calls that the server fails are tried again", "3 files edited", "4 of 4 done", "web/retries.js",
            "2 commands", "1 question", "6 errors", "Go on, but leave calls.py alone",
        ):  # fmt: skip
            assert said in top, said

    def test_the_overview_counts_only_what_was_not_refused(self, task):
        files = Transcript(task, path="/x").overview.files
        assert [(f.path, f.added, f.removed, f.is_new) for f in files] == [
            ("README.md", 2, 0, False), ("billing/settings.py", 11, 5, False), ("web/retries.js", 13, 0, True),
        ]  # fmt: skip


class TestItsDate:
    """The header's, and the preview's: when the conversation began, not when it came here."""

    WRITTEN = datetime(2025, 3, 7, 9, 30, tzinfo=UTC)
    CAME = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("first_ms", "shown"),
        [
            (WRITTEN.timestamp() * 1000, WRITTEN),
            (CAME.timestamp() * 1000 + 60_000, CAME),  # the editor's clock is ahead
            (1, CAME),  # it was never set
            (2**62, CAME),
            (None, CAME),  # nothing was recorded
        ],
    )
    def test_is_that_of_the_first_message_where_it_is_known(
        self, client, alice, acme, drawn, first_ms, shown
    ):
        rows = [] if first_ms is None else [{"ts": int(first_ms), **say("text", "Begin")}]
        store(alice, acme, rows, at=self.CAME)
        Task.unscoped.update(created_at=self.CAME)
        path = actions.share_task(
            actor=factories.actor(alice, acme), task_id=TASK, visibility="public", at=timezone.now()
        ).url.partition("/share/")[2]

        page = client.get(f"/share/{path}").content.decode()
        client.get(f"/share/{path}/preview.png")

        header = page.partition('<header class="task__header"')[2].partition("</header>")[0]
        assert f'<time datetime="{shown:%Y-%m-%dT%H:%M}' in header
        assert f"{shown.day} {shown:%B %Y, %H:%M} UTC" in header
        assert f"{shown.day} {shown:%B %Y}" in drawn[0].facts


class TestSubtasks:
    """A task names the one that started it and those that it started."""

    ORDER = "Write **tests** for `withRetries`:\nhow often it calls."

    @pytest.fixture
    def parent(self, alice, acme):
        rows = [say("text", "Retry calls"), tool("newTask", mode="test", content=self.ORDER)]
        return store(alice, acme, [{"ts": BEGAN + n, **row} for n, row in enumerate(rows)])

    @pytest.fixture
    def child(self, alice, acme, parent):
        return self.start(alice, acme, "child", self.ORDER)

    def start(self, person, org, task_id, text, *, ts=BEGAN + 9, parent=TASK) -> Task:
        told = {"taskId": task_id, "parentTaskId": parent}
        message = {"ts": ts, **say("text", text)}
        for event in (
            actions.Event("Task Created", told),
            actions.Event("Task Message", {"taskId": task_id, "message": message}),
        ):
            actions.record_event(actor=factories.actor(person, org), event=event, at=timezone.now())
        return Task.unscoped.get(owner=person, task_id=task_id)

    def header(self, client, path=f"/task/{TASK}") -> str:
        page = client.get(path).content.decode()
        return page.partition('class="task__header"')[2].partition("</header>")[0]

    def test_are_linked_both_ways_with_their_outcome(self, client, alice, child):
        client.force_login(alice)
        Task.unscoped.filter(pk=child.pk).update(status="completed")

        shown = self.header(client)
        assert 'href="/task/child"' in shown
        assert "Write tests for withRetries: how often it calls." in shown
        assert "1 completed" in shown
        begun = self.header(client, "/task/child")
        assert f'Subtask of\n    <a href="/task/{TASK}">Retry calls</a>' in begun
        assert "subtask" not in begun.partition("Subtask of")[2]

    def test_are_opened_from_where_they_were_started(self, client, alice, acme, parent):
        """Also when that was shown before, and of two that are told the same each its own."""
        client.force_login(alice)
        again = tool("newTask", mode="test", content=self.ORDER)
        hear(alice, acme, {"ts": BEGAN + 20, **again})
        assert b"Open the subtask" not in client.get(f"/task/{TASK}").content
        self.start(alice, acme, "second", self.ORDER, ts=BEGAN + 21)
        self.start(alice, acme, "first", self.ORDER, ts=BEGAN + 9)
        self.start(alice, acme, "other", "Something else", ts=BEGAN + 8)

        talk = client.get(f"/task/{TASK}").content.decode().partition('class="talk"')[2]

        assert re.findall(r'<a href="(/task/\w+)">Open the subtask', talk) == [
            "/task/first", "/task/second",
        ]  # fmt: skip

    def test_are_never_on_a_link_that_leaves(self, client, alice, bob, acme, child):
        for visibility, reader in (("public", None), ("organization", bob)):
            url = actions.share_task(
                actor=factories.actor(alice, acme), task_id=TASK, visibility=visibility,
                at=timezone.now(),
            ).url  # fmt: skip
            if reader:
                client.force_login(reader)
            shown = client.get(url[url.index("/share/") :]).content.decode()
            assert "Start a subtask" in shown
            assert "/task/child" not in shown
            assert "1 subtask" not in shown

    def test_of_other_people_and_contexts_are_not_shown(self, client, alice, bob, acme, parent):
        """A1"""
        self.start(bob, acme, "bobs", self.ORDER)
        self.start(alice, None, "personal", self.ORDER)
        own = self.start(bob, acme, "own", "Mine", parent="hers")
        self.start(alice, acme, "hers", "Secret of Alice")
        client.force_login(alice)
        shown = client.get(f"/task/{TASK}").content.decode()
        assert "/task/bobs" not in shown
        assert "/task/personal" not in shown
        client.force_login(bob)
        assert "Secret of Alice" not in client.get(f"/task/{own.task_id}").content.decode()

    def test_a_colleague_who_may_open_the_task_may_open_them(self, client, adam, child):
        client.force_login(adam)
        assert 'href="/task/child"' in self.header(client)
        assert client.get("/task/child").status_code == 200

    def test_are_bounded_and_cost_as_much_as_one(self, client, alice, acme, child):
        client.force_login(alice)
        few = TestParts().count(lambda: client.get(f"/task/{TASK}"))
        now = timezone.now()
        Task.unscoped.bulk_create(
            Task(
                task_id=f"c-{n}", owner=alice, organization=acme, parent_task_id=TASK,
                created_at=now, last_activity_at=now,
            )
            for n in range(queries.MAX_SUBTASKS)
        )  # fmt: skip

        shown = []
        assert TestParts().count(lambda: shown.append(self.header(client))) <= few
        assert "The first 50 subtasks" in " ".join(shown[0].split())
        assert shown[0].count('class="rows__main" href="/task/') == queries.MAX_SUBTASKS

    def test_are_found_by_an_index(self, child):
        rows = queries.subtasks_of(Task.unscoped.get(task_id=TASK))
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")
        assert "tasks_task_of_parent" in rows.explain()


class TestParts:
    def test_a_long_conversation_asks_as_much_as_a_short_one(self, mine, alice, acme):
        store(alice, acme, texts(WINDOW))
        mine.get(f"/task/{TASK}")
        store(alice, acme, texts(WINDOW, start=1))
        few = self.count(lambda: mine.get(f"/task/{TASK}"))
        store(alice, acme, texts(20 * WINDOW))
        assert self.count(lambda: mine.get(f"/task/{TASK}")) == few <= 21

    def count(self, act) -> int:
        with CaptureQueriesContext(connection) as captured:
            act()
        return len(captured.captured_queries)

    def test_a_part_reads_its_own_messages_alone(self, alice, acme, monkeypatch):
        """F7"""
        task = store(alice, acme, texts(5 * WINDOW))
        read = []
        original = queries.read
        monkeypatch.setattr(
            queries,
            "read",
            lambda rows, **how: (read.append(row) or row for row in original(rows, **how)),
        )
        transcript = Transcript(task, path="/x")
        window = transcript.window(transcript.page(3))
        assert read == []  # the cache may have it
        assert [item.ts for item in window.items][:1] == [BEGAN + 2 * WINDOW]
        assert len(read) == WINDOW

    def test_a_link_to_a_message_opens_its_part(self, mine, alice, acme):
        store(alice, acme, texts(3 * WINDOW))
        shown = mine.get(f"/task/{TASK}?at={BEGAN + 250}").content.decode()
        assert f'id="m{BEGAN + 250}-text"' in shown
        assert "Messages 201 to 300 of 300" in shown

    @pytest.mark.parametrize(
        "odd", ["at=x", "at=99999999999999999999", "at=-1", "page=0", "page=x", "at=٣", "find=%00"]
    )
    def test_odd_numbers_are_no_failure(self, mine, odd):
        assert mine.get(f"/task/{TASK}?{odd}").status_code == 200

    def test_contents_lead_to_other_parts(self, mine, alice, acme):
        rows = texts(2 * WINDOW)
        rows.append({"ts": BEGAN + 5000, **say("user_feedback", "And now?")})
        store(alice, acme, rows)
        shown = mine.get(f"/task/{TASK}").content.decode()
        assert f'href="/task/{TASK}?page=3#m{BEGAN + 5000}-user_feedback"' in shown
        assert f'href="#m{BEGAN}-text"' in shown

    def test_anchors_outlive_a_new_snapshot(self, task, alice, acme, mine):
        before = mine.get(f"/task/{TASK}").content.decode()
        store(alice, acme, messages())
        after = mine.get(f"/task/{TASK}").content.decode()
        ids = [part.partition('"')[0] for part in before.split('id="m')[1:]]
        assert len(ids) == len(set(ids)) > 50
        assert ids == [part.partition('"')[0] for part in after.split('id="m')[1:]]


def read_of(page: bytes) -> bytes:
    """What is read of a page: a form's token is another each time."""
    return re.sub(rb'name="csrfmiddlewaretoken" value="\w+"', b"", page.partition(b"<main")[2])


class TestTheCache:
    @pytest.fixture
    def rendered(self, monkeypatch):
        """The texts that were rendered."""
        seen = []
        original = markup.render

        def spy(parts):
            seen.extend(part.text for part in parts)
            return original(parts)

        monkeypatch.setattr(markup, "render", spy)
        return seen

    def test_the_same_messages_are_rendered_once(self, mine, rendered):
        first = mine.get(f"/task/{TASK}").content
        count = len(rendered)
        second = mine.get(f"/task/{TASK}").content
        assert len(rendered) == count > 30
        assert read_of(first) == read_of(second)

    def test_a_new_a_changed_and_a_lost_message_are_seen_at_once(self, mine, alice, acme):
        hear(alice, acme, {"ts": BEGAN + 10**6, **say("user_feedback", "One thing more")})
        assert b"One thing more" in mine.get(f"/task/{TASK}").content
        hear(alice, acme, {"ts": BEGAN + 10**6, **say("user_feedback", "Something else")})
        changed = mine.get(f"/task/{TASK}").content
        assert b"Something else" in changed
        assert b"One thing more" not in changed
        Message.unscoped.filter(ts=BEGAN + 10**6).delete()
        assert b"Something else" not in mine.get(f"/task/{TASK}").content

    def test_what_one_page_cached_is_no_other_pages(self, mine, link):
        """Links and images of a shared page are the share's own."""
        mine.get(f"/task/{TASK}")
        shared = mine.get(link).content.decode()
        assert f'href="/task/{TASK}?' not in shared
        assert f"/task/{TASK}/image" not in shared
        assert f'src="{link}/image/' in shared

    def test_the_same_words_of_two_people_are_theirs(self, alice, acme):
        task = store(alice, acme, messages())
        page = Transcript(task, path="/x").page(1)
        keys = {Transcript(task, path=path).window(page).key for path in ("/x", "/y")}
        task.owner.first_name = "Somebody"
        keys.add(Transcript(task, path="/x").window(page).key)
        assert len(keys) == 3


class TestBounds:
    """F7"""

    def test_a_message_that_is_too_large_is_named_and_can_be_kept(
        self, mine, alice, acme, monkeypatch
    ):
        monkeypatch.setattr(queries, "MAX_BODY", 2_000)
        store(alice, acme, [*texts(2), {"ts": BEGAN + 9, **say("text", "large" * 1_000)}])
        shown = mine.get(f"/task/{TASK}").content.decode()
        assert "too large to be shown" in shown
        assert "largelarge" not in shown

    @pytest.mark.django_db(transaction=True)
    def test_the_json_has_it_whole(self, mine, alice, acme, monkeypatch):
        monkeypatch.setattr(queries, "MAX_BODY", 2_000)
        rows = [*texts(2 * WINDOW), {"ts": BEGAN + 999, **say("text", "large" * 1_000)}]
        store(alice, acme, rows)
        answer = mine.get(f"/task/{TASK}.json")
        assert json.loads(async_to_sync(_joined)(answer)) == rows

    def test_a_page_reads_only_so_much(self, alice, acme, monkeypatch):
        task = store(alice, acme, texts(50))
        monkeypatch.setattr(queries, "MAX_BODIES", 1_000)
        bodies = [row.body for row in queries.read(queries.messages_of(task))]
        assert 0 < sum(map(len, bodies)) <= 1_000
        assert bodies[-1] == ""

    def test_a_share_of_a_hundred_messages_weighs_little(self, client, alice, acme, link):
        store(
            alice,
            acme,
            [dict(m, ts=m["ts"] + n * 10**7) for n in range(2) for m in messages()][:WINDOW],
        )
        assert len(client.get(link).content) < 300_000


class TestSearch:
    def test_finds_in_every_part_and_leads_there(self, mine, alice, acme):
        store(
            alice,
            acme,
            [
                *texts(2 * WINDOW),
                {
                    "ts": BEGAN + 5000,
                    **tool("appliedDiff", path="a.py", diff="@@ -1 +1 @@\n-a\n+NEEDLE <b>\n"),
                },
            ],
        )
        shown = mine.get(f"/task/{TASK}?find=needle").content.decode()
        assert "1 place with" in shown
        assert "<mark>NEEDLE</mark> &lt;b&gt;" in shown
        assert f'href="/task/{TASK}?page=3#m{BEGAN + 5000}-tool"' in shown

    def test_says_when_there_is_nothing(self, mine):
        assert (
            "Nothing has “zebra (”".encode()
            in mine.get(f"/task/{TASK}", {"find": "zebra ("}).content
        )


class TestFiles:
    def test_the_patch_makes_the_files(self, client, link, tmp_path):
        """N12: by a stranger who has the link alone."""
        client.logout()
        answer = client.get(f"{link}.patch")
        assert answer["Content-Type"] == "text/x-patch; charset=utf-8"
        (tmp_path / "billing").mkdir()
        (tmp_path / "billing/settings.py").write_text(SETTINGS_BEFORE)
        (tmp_path / "README.md").write_text("# Billing\n\nCalls.\n")
        for words in (["init", "-q"], ["apply", "-"]):
            done = subprocess.run(  # noqa: S603
                ["git", *words],  # noqa: S607
                cwd=tmp_path,
                input=answer.content,
                capture_output=True,
            )
            assert done.returncode == 0, done.stderr
        assert "backoff_s: float = 0.5" in (tmp_path / "billing/settings.py").read_text()
        assert "withRetries" in (tmp_path / "web/retries.js").read_text()
        assert f"{link}?at=" in answer.content.decode()

    def test_the_changes_are_one_page_and_name_what_is_missing(self, mine):
        shown = mine.get(f"/task/{TASK}/changes").content.decode()
        assert shown.count('<section class="change"') == 3
        assert "It was refused in the editor." in shown

    def test_nothing_changed_is_said(self, mine, alice, acme):
        store(alice, acme, texts(3))
        assert b"No edit of a file was recorded" in mine.get(f"/task/{TASK}/changes").content

    def test_markdown_has_everything_that_was_said(self, mine):
        text = mine.get(f"/task/{TASK}.md").content.decode()
        for said in (
            "## User",
            "**Edit billing/settings.py**",
            "```diff",
            "- [x] Read the settings",
            "(chosen)",
            "## Result",
        ):
            assert said in text, said

    def test_text_cannot_close_its_fence(self, mine, alice, acme):
        store(
            alice,
            acme,
            [*texts(1), {"ts": BEGAN + 9, **say("command_output", "a\n````\n# not a heading")}],
        )
        assert (
            "\n`````\na\n````\n# not a heading\n`````\n"
            in mine.get(f"/task/{TASK}.md").content.decode()
        )

    @pytest.mark.parametrize("part", [".md", ".patch", "/changes", "?find=retr"])
    def test_each_goes_with_the_link_and_carries_its_headers(self, client, alice, link, part):
        """J2, J4"""
        from tasks_sharing.models import Share

        client.logout()
        answer = client.get(link + part)
        assert answer.status_code == 200
        assert answer["X-Robots-Tag"].startswith("noindex")
        assert answer["Cache-Control"] == "no-store"
        assert answer["Referrer-Policy"] == "no-referrer"
        Share.unscoped.update(revoked_at=timezone.now())
        assert client.get(link + part).status_code == 404
