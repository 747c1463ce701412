"""The list of tasks: what it finds, what it shows, what it costs, and what is done to many at once."""

import json
from base64 import b64encode
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Entry
from orgs.models import Membership
from roocloud.lib import wire
from tasks_sharing import actions, listing, queries, search, transcript
from tasks_sharing.listing import Filters, listed
from tasks_sharing.models import Image, Task, TaskText
from tasks_sharing.transcript import Transcript
from tests import factories
from tests.tasks_sharing.test_sharing import set_policy

NOON = factories.NOON
PNG = "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n one").decode()
GIF = "data:image/gif;base64," + b64encode(b"GIF89a two").decode()


def say(ts, text, kind="text", **more):
    return {"ts": ts, "type": "say", "say": kind, "text": text, **more}


def hear(person, org, task_id, *messages, at=NOON, **facts):
    actor = factories.actor(person, org)
    for message in messages:
        event = actions.Event("Task Message", {"taskId": task_id, **facts, "message": message})
        with transaction.atomic():
            actions.record_event(actor=actor, event=event, at=at)
    return Task.unscoped.get(owner=person, task_id=task_id)


def catch_up():
    search.index_due(is_time_up=lambda: False)


def sight(person, org, *, is_team=False):
    return queries.sight(factories.actor(person, org), is_team=is_team)


def titles(person, org, filters=None, *, is_team=False, after=""):
    page = listed(sight(person, org, is_team=is_team), filters or Filters(), after=after)
    return [task.title for task in page.tasks]


def found(person, org, text, **more):
    catch_up()
    return titles(person, org, Filters(text=text), **more)


@pytest.fixture
def many(alice, acme):
    """``many(count)``: tasks of alice's in acme, the newest last, with words."""

    def many(count, **facts):
        begin = Task.unscoped.count()
        tasks = Task.unscoped.bulk_create(
            Task(
                task_id=f"n-{n}", owner=alice, organization=acme, title=f"Task {n} of many",
                created_at=NOON + timedelta(minutes=n), last_activity_at=NOON + timedelta(minutes=n),
                words_due=False, **facts,
            )
            for n in range(begin, begin + count)
        )  # fmt: skip
        TaskText.unscoped.bulk_create(
            TaskText(
                id=search.place_of(task), task=task, owner_id=alice.pk, organization_id=acme.pk,
                words=" ".join(search.words_of(task.title)),
            )
            for task in tasks
        )  # fmt: skip
        return tasks

    return many


class TestSearch:
    @pytest.fixture(autouse=True)
    def _tasks(self, alice, acme):
        hear(alice, acme, "one", say(1, "Fix the naïve Retries in src/web_client.py"))
        hear(
            alice, acme, "two", say(1, "Rename a flag"), say(2, "The agent mentions pineapples"),
            say(3, "Mind the STRASSE, and Straße too", "user_feedback"), at=NOON + timedelta(days=1),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("retries", ["one"]), ("RETRIES fix", ["one"]), ("client web src", ["one"]), ("naïve", ["one"]),
            ("strasse", ["two"]), ("straße mind", ["two"]), ("the", ["two", "one"]), ("retr*", ["one"]),
            ("src/web_cl*", ["one"]), ("retr", []), ("pineapples", []), ("flag retries", []), ("naive", []),
        ],
    )  # fmt: skip
    def test_finds_all_the_words_of_titles_and_of_the_user(self, alice, acme, text, expected):
        names = {"one": "Fix the naïve Retries in src/web_client.py", "two": "Rename a flag"}
        assert found(alice, acme, text) == [names[name] for name in expected]

    @pytest.mark.parametrize(
        "text",
        [
            '"', "'", '"the', "the\"'", "the AND", "NOT", "OR the", "NEAR(the, 2)", "words:the", "*", "-the", "( the",
            "the \x00", "the \ud800", "\udfff", "x" * 10_000, "the " * 2_500, "'; DROP TABLE x", "^the", "{a b}:c",
            "&", "!the", "the:*", "a & | b", "<->", "\\", "%", "_", "the\u0301", "½ ² ﬁ", "𞤀𞤁 🙂", "مرحبا", "中文",
        ],
    )  # fmt: skip
    def test_nothing_that_is_typed_fails(self, client, alice, text):
        catch_up()
        client.force_login(alice)
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        for team in ({}, {"of": "team"}):
            assert client.get("/tasks", {"q": text, **team}).status_code == 200

    @pytest.mark.parametrize("text", ["the \x00", "the \ud800", '"the"', "the\u0085", "the & !"])
    def test_what_is_no_word_is_passed_over(self, alice, acme, text):
        assert len(found(alice, acme, text)) == 2

    def test_what_the_user_says_next_is_found_too(self, alice, acme):
        catch_up()
        hear(alice, acme, "one", say(9, "and quaternions", "user_feedback"))

        assert found(alice, acme, "quaternions retries") != []

    def test_what_a_snapshot_left_out_is_found_no_more(self, alice, acme):
        catch_up()
        task = Task.unscoped.get(task_id="two")
        rows = [say(1, "Rename a flag"), say(3, "Otherwise", "user_feedback")]
        actions.replace_messages(task_pk=task.pk, messages=rows, requested_at=timezone.now())

        assert found(alice, acme, "strasse") == []
        assert found(alice, acme, "otherwise") == ["Rename a flag"]

    def test_a_deleted_task_is_found_no_more(self, alice, acme):
        catch_up()
        task = Task.unscoped.get(task_id="two")
        actions.delete_task(task=task, by=factories.actor(alice, acme), at=NOON)

        assert not TaskText.unscoped.filter(owner_id=alice.pk, words__contains="rename").exists()
        assert found(alice, acme, "rename") == []

    def test_begins_with_who_may_see(self, alice, bob, mallory, acme, evil):
        """A1, J2: mine in this context, the team's by policy, and never anybody else's."""
        hear(mallory, evil, "m", say(1, "Fix theirs"))
        hear(bob, acme, "b", say(1, "Fix bob's"))
        hear(alice, None, "p", say(1, "Fix privately"))
        mine = "Fix the naïve Retries in src/web_client.py"

        assert found(alice, acme, "fix") == [mine]
        assert found(alice, None, "fix") == ["Fix privately"]
        assert set(found(alice, acme, "fix", is_team=True)) == {mine, "Fix bob's"}
        set_policy(acme, alice, workspaceTaskVisibility="admins-and-creator")
        assert found(bob, acme, "fix", is_team=True) == ["Fix bob's"]
        assert found(mallory, evil, "fix", is_team=True) == ["Fix theirs"]


def assert_walks(person, org, filters, count):
    """Page by page every task comes once, the newest first."""
    after, seen = "", []
    while True:
        page = listed(sight(person, org), filters, after=after)
        seen += [task.task_id for task in page.tasks]
        assert len(page.tasks) <= listing.PAGE
        if not page.following:
            break
        after = page.following
    assert seen == [f"n-{n}" for n in reversed(range(count))]


class TestFilters:
    @pytest.fixture(autouse=True)
    def _tasks(self, alice, bob, acme):
        more = {"modelId": "v/opus", "repositoryName": "acme/billing", "mode": "code"}
        task = hear(alice, acme, "a", say(1, "Alpha"), **more)
        Task.unscoped.filter(pk=task.pk).update(cost_nanos=2 * 10**9, status="completed")
        more = {"modelId": "v/haiku", "repositoryName": "acme/web", "mode": "ask"}
        hear(alice, acme, "b", say(1, "Beta"), at=NOON + timedelta(days=2), **more)
        hear(bob, acme, "c", say(1, "Gamma"), at=NOON + timedelta(days=3), **more)

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("repository=billing", ["Alpha"]), ("repository=acme/", ["Gamma", "Beta", "Alpha"]), ("mode=ASK", ["Gamma", "Beta"]),
            ("model=opus", ["Alpha"]), ("outcome=completed", ["Alpha"]), ("outcome=running", ["Gamma", "Beta"]),
            ("first=2026-11-21", ["Gamma", "Beta"]), ("last=2026-11-22", ["Beta", "Alpha"]), ("least=2", ["Alpha"]),
            ("most=1.999999999", ["Gamma", "Beta"]), ("mode=ask&first=2026-11-23", ["Gamma"]), ("q=beta&mode=ask", ["Beta"]),
            ("q=beta&mode=code", []), ("q=alpha&last=2026-11-20", ["Alpha"]), ("q=gamma&least=1", []), ("member=BOB", ["Gamma"]),
            ("member=BOB&q=gamma", ["Gamma"]), ("member=BOB&q=beta", []), ("outcome=nonsense", ["Gamma", "Beta", "Alpha"]),
            ("first=0001-01-01&last=9999-12-31", ["Gamma", "Beta", "Alpha"]), ("least=x", ["Gamma", "Beta", "Alpha"]),
            ("most=1e999", ["Gamma", "Beta", "Alpha"]), ("member=nobody", ["Gamma", "Beta", "Alpha"]),
            ("model=%00", ["Gamma", "Beta", "Alpha"]), ("after=nonsense~%00", ["Gamma", "Beta", "Alpha"]),
            ("q=beta&after=9999999999999999999999", ["Beta"]),
        ],
    )  # fmt: skip
    def test_leave_what_was_asked_for(self, client, alice, bob, asked, expected):
        catch_up()
        client.force_login(alice)
        answer = client.get(f"/tasks?of=team&{asked.replace('BOB', bob.pk)}")
        assert [task.title for task in answer.context["page"].tasks] == expected

    def test_are_shown_and_can_be_taken_away(self, client, alice):
        client.force_login(alice)
        shown = client.get("/tasks?mode=code&least=1&q=alpha").content.decode()
        for rest in ("mode=code&amp;least=1", "mode=code&amp;q=alpha", "least=1&amp;q=alpha"):
            assert f'href="?{rest}"' in shown
        assert "Nothing matches" in shown  # of words that nobody wrote down yet

    def test_members_are_named_only_to_who_may_see_their_tasks(self, client, bob, alice, acme):
        """J2: what a member may not list they cannot filter by either."""
        set_policy(acme, alice, workspaceTaskVisibility="creator")
        client.force_login(bob)
        answer = client.get("/tasks?of=team")
        assert "member" not in answer.context["form"].fields

    def test_a_page_looks_through_so_many_and_says_so(self, alice, acme, many, monkeypatch):
        monkeypatch.setattr(listing, "LOOKS", 10)
        monkeypatch.setattr(listing, "LOOKS_FOUND", 10)
        many(25, mode="debug")
        mine = sight(alice, acme)
        for filters in (Filters(outcome="completed"), Filters(outcome="completed", text="many")):
            after, pages = "", 0
            while (page := listed(mine, filters, after=after)).is_cut:
                assert page.tasks == []
                after, pages = page.following, pages + 1
            assert pages == 2
            assert page.following == ""
        assert titles(alice, acme, Filters(mode="code")) == []


def test_says_whose_figures_the_costs_are(client, alice, many):
    """The page of a task may show another one: what was billed."""
    many(1, cost_nanos=70_000_000)
    client.force_login(alice)
    shown = client.get("/tasks?least=0.01").content.decode()
    assert "Costs are as editors reported them" in shown
    assert "Reported cost from, USD: 0.01" in " ".join(shown.split())


class TestCost:
    """What is shown costs the same however many tasks there are; bench/measure_tasks.py has the
    figures of time."""

    def count(self, act) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert act().status_code == 200
        return sum("SAVEPOINT" not in query["sql"] for query in captured.captured_queries)

    @pytest.mark.parametrize(
        "asked", ["", "of=team", "q=many", "q=many&of=team&mode=code", "outcome=running&of=team"]
    )
    def test_ten_queries_at_most(self, client, alice, many, asked):
        client.force_login(alice)
        many(3, mode="code")
        client.get(f"/tasks?{asked}")
        few = self.count(lambda: client.get(f"/tasks?{asked}"))
        many(200, mode="code")
        assert self.count(lambda: client.get(f"/tasks?{asked}")) <= few <= 10

    def test_every_page_comes_once_whatever_has_the_same_time(self, alice, acme, many):
        many(130)
        for filters in (Filters(), Filters(text="many"), Filters(text="many", outcome="running")):
            assert_walks(alice, acme, filters, 130)
        Task.unscoped.update(last_activity_at=NOON)
        page, seen = None, []
        while page is None or page.following:
            after = page.following if page else ""
            page = listed(sight(alice, acme), Filters(), after=after)
            seen += [task.pk for task in page.tasks]
        assert len(seen) == len(set(seen)) == 130


class TestDeletion:
    def test_asks_first_and_says_what_goes(self, client, alice, acme, many):
        tasks = many(3)
        actor = factories.actor(alice, acme)
        Task.unscoped.update(backfilled_at=NOON)
        actions.share_task(actor=actor, task_id="n-0", visibility="organization", at=timezone.now())
        client.force_login(alice)
        query = f"task={tasks[0].pk}&task={tasks[2].pk}"

        asked = client.get(f"/tasks/delete?{query}").content.decode()
        assert "Delete 2 tasks?" in asked
        assert "1 link" in asked
        assert Task.unscoped.count() == 3
        answer = client.post("/tasks/delete", {"task": [tasks[0].pk, tasks[2].pk]})
        assert answer.status_code == 302
        assert [task.task_id for task in Task.unscoped.all()] == ["n-1"]
        assert Entry.objects.filter(action="task.deleted").count() == 2

    def test_leaves_the_tasks_of_others(self, client, alice, bob, mallory, acme, evil, many):
        """A1: also those that alice may read as the owner of the organization."""
        theirs = hear(bob, acme, "b", say(1, "Bob's")), hear(mallory, evil, "m", say(1, "Hers"))
        client.force_login(alice)
        query = "&".join(f"task={task.pk}" for task in theirs)
        asked = client.get(f"/tasks/delete?{query}").content.decode()
        assert "Nothing to delete" in asked
        assert "Bob" not in asked
        client.post("/tasks/delete", {"task": [*(task.pk for task in theirs), "x\x00"]})
        assert Task.unscoped.count() == 2


async def _joined(answer) -> bytes:
    return b"".join([piece async for piece in answer])


def exported(client, query="") -> list[dict]:
    answer = client.get(f"/tasks/export?{query}")
    assert answer.status_code == 200
    return [json.loads(line) for line in async_to_sync(_joined)(answer).splitlines()]


@pytest.mark.django_db(transaction=True)
class TestExport:
    def test_has_what_was_asked_for_and_may_be_read(self, client, alice, bob, acme):
        """J2, L4"""
        one = hear(alice, acme, "a", say(1, "Alpha"), say(2, "More"), mode="code")
        hear(alice, acme, "b", say(1, "Beta", images=[PNG]), mode="ask")
        hear(bob, acme, "c", say(1, "Gamma"), mode="ask")
        client.force_login(alice)

        assert {task["taskId"] for task in exported(client)} == {"a", "b"}
        assert {task["taskId"] for task in exported(client, "of=team&mode=ask")} == {"b", "c"}
        (found,) = exported(client, f"chosen=1&task={one.pk}&task=x%00")
        assert (found["title"], found["mode"]) == ("Alpha", "code")
        assert [message["text"] for message in found["messages"]] == ["Alpha", "More"]
        assert exported(client, "q=alpha")[0]["taskId"] == "a"
        assert client.get("/tasks/export?chosen=1").status_code == 302
        assert Entry.objects.filter(action="tasks.exported", actor_id=alice.pk).exists()

        set_policy(acme, alice, workspaceTaskVisibility="creator")
        client.force_login(bob)  # who sees no others, and chooses one that is not his
        assert [t["taskId"] for t in exported(client, "of=team")] == ["c"]
        assert exported(client, f"of=team&task={one.pk}") == []
        Membership.unscoped.filter(user=bob).delete()
        assert exported(client) == []

    def test_goes_on_past_the_first_page(self, client, alice, many, monkeypatch):
        many(7)
        monkeypatch.setattr(listing, "PAGE", 3)
        monkeypatch.setattr(listing.listed, "__kwdefaults__", {"size": 3, "only_openable": False})
        client.force_login(alice)
        assert [task["taskId"] for task in exported(client)] == [f"n-{n}" for n in range(6, -1, -1)]


class TestImagesInJson:
    """What leaves as JSON is what the client sent."""

    SENT = [
        say(1, "See these", images=[PNG, "https://x.example/y.png", GIF]),
        {"ts": 2, "type": "ask", "ask": "tool", "text": json.dumps({"tool": "x", "imageData": PNG})},
        say(3, json.dumps({"logs": "", "screenshot": GIF}), "browser_action_result"),
        say(4, "None", images=[]),
        say(5, "Plain"),
    ]  # fmt: skip

    def lines(self, person, org):
        task = hear(person, org, "t", *self.SENT)
        return [wire.loads(line.encode()) for line in Transcript(task, path="").json_lines(0)]

    def test_images_are_put_back(self, alice, acme):
        told = self.lines(alice, acme)
        assert Image.unscoped.count() == 2
        for sent, kept in zip(self.SENT, told, strict=True):
            if sent["ts"] in (2, 3):
                assert json.loads(kept.pop("text")) == json.loads(sent["text"])
                sent = {name: value for name, value in sent.items() if name != "text"}
            assert kept == sent

    def test_one_that_is_gone_is_left_out(self, alice, acme):
        self.lines(alice, acme)
        Image.unscoped.all().delete()
        task = Task.unscoped.get()
        first = wire.loads(Transcript(task, path="").json_lines(0)[0].encode())
        assert first["images"] == ["https://x.example/y.png"]

    def test_large_ones_come_a_few_at_a_time(self, alice, acme, monkeypatch):
        monkeypatch.setattr(transcript, "_FILE_CHARS", 90)
        task = hear(alice, acme, "t", *[say(n, "x" * 60) for n in range(5)])
        whole = Transcript(task, path="")
        assert [len(whole.json_lines(start)) for start in (0, 1, 4, 5)] == [1, 1, 1, 0]
