"""Pages that follow a running task: who may, what goes over the stream, and that they end as a reload
would show them."""

import asyncio
import random
import re
import time

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import User
from orgs.models import Membership
from roocloud.lib import limits
from roocloud.lib.refusals import NotFound, Unauthenticated
from tasks_sharing import actions, live, news, streams, transcript
from tasks_sharing.models import Message, Task
from tasks_sharing.streams import Seen
from tests import factories
from tests.tasks_sharing.everything import BEGAN, say, tool
from tests.tasks_sharing.test_sharing import set_policy
from tests.tasks_sharing.test_task_page import TASK, hear, store, texts

pytestmark = pytest.mark.stored
SEEN = Seen("user_1", "task_1", "v1")


@pytest.fixture
def task(alice, acme):
    return store(alice, acme, texts(3))


def cookies_of(client, person=None) -> str:
    if person:
        client.force_login(person)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


# --- Who may ----------------------------------------------------------------------------------


def test_the_owner_may_follow(client, alice, task):
    seen = streams._look(cookies_of(client, alice), TASK)

    assert (seen.viewer_id, seen.task_pk) == (alice.pk, task.pk)


@pytest.mark.parametrize("who", ["bob", "rhea", "mallory"])
def test_who_may_not_open_the_page_may_not_follow_it(client, request, alice, acme, task, evil, who):
    """A1, B4: a task of others answers as an unknown one."""
    set_policy(acme, alice, workspaceTaskVisibility="creator")
    cookies = cookies_of(client, request.getfixturevalue(who))

    for task_id in (TASK, "unknown", "", "../t-1"):
        with pytest.raises(NotFound):
            streams._look(cookies, task_id)


@pytest.mark.parametrize(
    "cookies", ["", "roocloud_session=", "roocloud_session=x\0y", "a=b", "=;;"]
)
def test_nobody_follows_without_a_session(db, cookies):
    with pytest.raises(Unauthenticated):
        streams._look(cookies, TASK)


def test_a_colleague_follows_while_the_policy_lets_them(client, alice, bob, acme, task):
    """J2, B4: decided at each look."""
    cookies = cookies_of(client, bob)
    assert streams._look(cookies, TASK).task_pk == task.pk
    set_policy(acme, alice, workspaceTaskVisibility="creator")

    with pytest.raises(NotFound):
        streams._look(cookies, TASK)


def sign_out(client, person):
    client.session.flush()


def deactivate(client, person):
    User.objects.filter(pk=person.pk).update(is_active=False)


def change_password(client, person):
    person.set_password("another battery staple")
    person.save()


def leave(client, person):
    Membership.unscoped.filter(user=person).delete()


@pytest.mark.parametrize(
    ("revoke", "refusal"),
    [(sign_out, Unauthenticated), (deactivate, Unauthenticated),
     (change_password, Unauthenticated), (leave, NotFound)],
)  # fmt: skip
def test_a_lost_right_is_noticed_at_the_next_look(client, bob, acme, task, revoke, refusal):
    """B4"""
    cookies = cookies_of(client, bob)
    streams._look(cookies, TASK)
    revoke(client, bob)

    with pytest.raises(refusal):
        streams._look(cookies, TASK)


def test_looks_come_often_enough():
    """B4, D8: rights end and pages repair themselves within five seconds."""
    assert streams.CHECK_S <= 4


def test_a_look_costs_few_queries(client, alice, task, django_assert_max_num_queries):
    cookies = cookies_of(client, alice)

    with django_assert_max_num_queries(7):
        streams._look(cookies, TASK)


# --- The stream -------------------------------------------------------------------------------


class Reader:
    """One browser on the stream. look: what the server finds at each look at its rights."""

    def __init__(self, monkeypatch, *, look=lambda *_: SEEN, headers=(), method="GET"):
        async def run_db(func):
            return func()

        monkeypatch.setattr(streams, "run_db", run_db)
        monkeypatch.setattr(streams, "_look", look)
        self.is_ending = False
        self.sent: list[dict] = []
        self.gone = asyncio.Event()
        app = streams.application(is_ending=lambda: self.is_ending)
        scope = {
            "type": "http", "method": method, "path": f"/task/{TASK}/live",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "url_route": {"kwargs": {"task_id": TASK}},
        }  # fmt: skip
        self.run = asyncio.create_task(app(scope, self.receive, lambda message: self.send(message)))

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def events(self) -> list[str]:
        return re.findall(r"^event: (\w+)", self.text, re.MULTILINE)

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                if self.run.done():
                    self.run.result()
                await asyncio.sleep(0.01)

    async def leave(self):
        self.gone.set()
        async with asyncio.timeout(5):
            await self.run


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setattr(streams, "_NOTICE_S", 0.02)


async def test_a_stream_begins_with_the_version_and_forbids_to_keep_it(monkeypatch):
    """J4"""
    reader = Reader(monkeypatch)
    await reader.until(lambda: reader.events == ["state"])
    headers = dict(reader.sent[0]["headers"])
    await reader.leave()

    assert reader.status == 200
    assert "event: state\ndata: v1\n\n" in reader.text
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"noindex" in headers[b"x-robots-tag"]


@pytest.mark.parametrize(
    "headers",
    [[("origin", "https://evil.example")], [("origin", "null")], [("sec-fetch-site", "cross-site")],
     [("sec-fetch-site", "same-site")]],
)  # fmt: skip
async def test_pages_of_other_origins_are_refused(monkeypatch, headers):
    """R3"""
    reader = Reader(monkeypatch, headers=headers)
    await reader.run

    assert reader.status == 403
    assert reader.events == []


async def test_our_own_page_may_name_its_origin(monkeypatch, settings):
    own = [("origin", settings.ROOCLOUD_PUBLIC_URL), ("sec-fetch-site", "same-origin")]
    reader = Reader(monkeypatch, headers=own)
    await reader.until(lambda: reader.events == ["state"])
    await reader.leave()


@pytest.mark.parametrize(("refusal", "status"), [(NotFound("x"), 404), (Unauthenticated("x"), 401)])
async def test_a_refusal_is_no_stream(monkeypatch, refusal, status):
    def look(*_):
        raise refusal

    reader = Reader(monkeypatch, look=look)
    await reader.run

    assert reader.status == status
    assert not reader.text.startswith("retry")


@pytest.mark.parametrize(
    "found", [NotFound("x"), Seen("user_2", "task_1", "v1"), Seen("user_1", "task_2", "v1")]
)
async def test_a_stream_ends_when_the_right_does(monkeypatch, found):
    """B4: also when the browser signed in as somebody else, or the id became another task's."""
    monkeypatch.setattr(streams, "CHECK_S", 0.05)
    answers = iter([SEEN])

    def look(*_):
        answer = next(answers, found)
        if isinstance(answer, Exception):
            raise answer
        return answer

    reader = Reader(monkeypatch, look=look)
    async with asyncio.timeout(5):
        await reader.run

    assert reader.events == ["state", "gone"]
    assert not reader.sent[-1].get("more_body")


async def test_a_stream_ends_without_a_verdict_when_the_database_is_away(monkeypatch):
    """E1: the browser comes back."""
    monkeypatch.setattr(streams, "CHECK_S", 0.05)
    answers = iter([SEEN])

    def look(*_):
        for answer in answers:
            return answer
        raise DatabaseError

    reader = Reader(monkeypatch, look=look)
    async with asyncio.timeout(5):
        await reader.run

    assert reader.events == ["state"]
    assert not reader.sent[-1].get("more_body")


async def test_a_person_follows_so_many_tasks_at_once(monkeypatch, settings):
    """F3"""
    settings.ROOCLOUD_LIVE_STREAMS = 8
    settings.REDIS_URL = ""
    limits.local.clear()
    open_ = [Reader(monkeypatch) for _ in range(8)]
    for reader in open_:
        await reader.until(lambda reader=reader: reader.events)
    other = Reader(monkeypatch)
    await other.run
    await open_[0].leave()
    again = Reader(monkeypatch)
    await again.until(lambda: again.events)
    for reader in [*open_[1:], again]:
        await reader.leave()

    assert other.status == 429
    assert again.status == 200


async def test_a_stream_ends_with_the_process(monkeypatch):
    """E2"""
    reader = Reader(monkeypatch)
    await reader.until(lambda: reader.events)
    reader.is_ending = True
    async with asyncio.timeout(2):
        await reader.run

    assert reader.events == ["state"]
    assert reader.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_a_browser_that_does_not_read_is_let_go(monkeypatch):
    """F3: what waits for it is one event."""
    monkeypatch.setattr(streams, "_TAKE_S", 0.05)
    reader = Reader(monkeypatch)
    await reader.until(lambda: reader.events)
    monkeypatch.setattr(streams, "CHECK_S", 0.01)
    stuck = asyncio.Event()

    async def send(_message):
        await stuck.wait()

    reader.send = send
    async with asyncio.timeout(5):
        await reader.run


async def until_told(task_pk, is_told):
    """Somebody watches once they have joined the group."""
    async with asyncio.timeout(5):
        while not is_told():
            await asyncio.to_thread(live._hand_over, task_pk)
            await asyncio.sleep(0.02)


async def test_a_burst_is_few_events(monkeypatch):
    """Whatever comes within the pace is one event, and news never pile up."""
    reader = Reader(monkeypatch)
    await until_told(SEEN.task_pk, lambda: "changed" in reader.events)
    await asyncio.sleep(2 * streams.PACE_S)
    before = len(reader.events)
    for _ in range(200):
        await asyncio.to_thread(live._hand_over, SEEN.task_pk)
    await reader.until(lambda: len(reader.events) > before)
    await asyncio.sleep(2 * streams.PACE_S)
    came = reader.events[before:]
    await reader.leave()

    assert set(came) == {"changed"}
    assert len(came) <= 4


async def test_a_stream_is_never_silent_for_long(monkeypatch):
    """D8: a page notices a connection that is half open, for it hears nothing."""
    assert 2 * streams.BEAT_S < 5
    monkeypatch.setattr(streams, "BEAT_S", 0.05)
    reader = Reader(monkeypatch)
    await reader.until(lambda: reader.events.count("beat") >= 3)
    await reader.leave()

    assert set(reader.events) == {"state", "beat"}


# --- The layer --------------------------------------------------------------------------------


async def test_news_reach_who_watches_and_nobody_else():
    """Over the channel layer, from a thread of a request or a job."""
    async with live.watching("task_1") as one, live.watching("task_2") as two:
        await until_told("task_2", two.is_set)
        assert not one.is_set()
        await until_told("task_1", one.is_set)
        two.clear()
        await asyncio.to_thread(live._hand_over, "task_1")
        await asyncio.sleep(0.1)

        assert not two.is_set()
    assert asyncio.get_running_loop() not in live._watched


class Broken:
    """A channel layer that is down; or that hangs, which is worse."""

    def __init__(self, *, hangs):
        self.hangs = hangs

    def __getattr__(self, name):
        async def call(*_):
            if self.hangs:
                await asyncio.sleep(60)
            raise ConnectionError(name)

        return call


@pytest.fixture
async def unreachable():
    """``unreachable(hangs)``: a channel layer on a Redis that refuses or never answers."""
    connected = []

    async def silent(reader, writer):
        connected.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    layers = []

    def unreachable(*, hangs):
        address = f"redis://127.0.0.1:{port if hangs else 1}"
        layers.append(RedisPubSubChannelLayer(hosts=[{"address": address}]))
        return layers[-1]

    yield unreachable
    for layer in layers:
        await layer.flush()
    for writer in connected:
        writer.close()
    server.close()


@pytest.mark.parametrize("hangs", [False, True])
async def test_who_watches_leaves_nothing_in_a_layer_that_is_down(monkeypatch, unreachable, hangs):
    """However often it tries to join."""
    layer = unreachable(hangs=hangs)
    tries, often = [], asyncio.Event()

    async def group_add(group, channel, join=layer.group_add):
        tries.append(channel)
        if len(tries) == 5:
            often.set()
        await join(group, channel)

    monkeypatch.setattr(layer, "group_add", group_add)
    monkeypatch.setattr(live, "get_channel_layer", lambda: layer)
    monkeypatch.setattr(live, "_LAYER_S", 0.05)
    monkeypatch.setattr(live, "_JOIN_AGAIN_S", 0.001)
    monkeypatch.setattr(live, "_JOIN_AGAIN_MOST_S", 0.001)
    async with live.watching("task_1"), asyncio.timeout(10):
        await often.wait()
        assert len(layer._get_layer().channels) <= 1

    assert (layer._get_layer().channels, layer._get_layer().groups) == ({}, {})


@pytest.mark.parametrize("hangs", [False, True])
async def test_without_the_layer_a_page_is_told_all_the_same(monkeypatch, hangs):
    """D8, E3: by the version, at the next look."""
    monkeypatch.setattr(live, "get_channel_layer", lambda: Broken(hangs=hangs))
    monkeypatch.setattr(streams, "CHECK_S", 0.05)
    versions = iter(["v1", "v1", "v2"])
    reader = Reader(monkeypatch, look=lambda *_: Seen("user_1", "task_1", next(versions, "v2")))
    await reader.until(lambda: "data: v2" in reader.text)
    await reader.leave()

    assert "changed" not in reader.events


@pytest.mark.parametrize("hangs", [False, True])
def test_recording_neither_waits_for_the_layer_nor_fails_with_it(
    alice, acme, task, monkeypatch, hangs, django_capture_on_commit_callbacks
):
    """E3"""
    monkeypatch.setattr(live, "get_channel_layer", lambda: Broken(hangs=hangs))
    with django_capture_on_commit_callbacks() as callbacks:
        for n in range(50):
            hear(alice, acme, {"ts": BEGAN + 10 + n, **say("text", "more")})
    handed = [callback for callback in callbacks if callback.func is live._hand_over]
    began = time.perf_counter()
    for callback in handed:
        callback()

    assert len(handed) == 50
    assert time.perf_counter() - began < 0.5
    assert task.messages.count() == 53


def test_news_are_told_after_the_commit_and_cost_no_query(
    alice, acme, task, monkeypatch, django_capture_on_commit_callbacks, django_assert_num_queries
):
    told = []
    monkeypatch.setattr(live, "_hand_over", told.append)
    with django_capture_on_commit_callbacks(execute=True):
        hear(alice, acme, {"ts": BEGAN + 10, **say("text", "more")})
        assert told == []
    assert told == [task.pk]
    with django_assert_num_queries(0):
        live.announce(task.pk)


def test_every_change_of_a_task_is_told(alice, acme, task, monkeypatch):
    told = []
    monkeypatch.setattr(live, "announce", told.append)
    actor, at = factories.actor(alice, acme), timezone.now()
    for kind in ("Task Message", "LLM Completion", "Task Reopened", "Task Completed"):
        actions.record_event(actor=actor, event=actions.Event(kind, {"taskId": TASK}), at=at)
    assert told == [task.pk] * 4
    actions.replace_messages(task_pk=task.pk, messages=texts(2), requested_at=at)
    actions.delete_task(task=Task.unscoped.get(), by=actor, at=at)

    assert told == [task.pk] * 6


# --- The page ---------------------------------------------------------------------------------


class Page:
    """What task-live.js does with the answers, on the parts that it shows."""

    def __init__(self, client):
        self.client = client
        self.parts = {number: [] for number in (1, 2)}
        for number in self.parts:
            answer = client.get(f"/task/{TASK}?page={number}").content.decode()
            self.parts[number] = blocks(answer) if shown(answer) == number else []

    def repair(self):
        for number, has in self.parts.items():
            known = ".".join(version for version, _ in has)
            query = {"page": number, "known": known, "whole": 1}
            answer = self.client.get(f"/task/{TASK}/news", query).content.decode()
            if shown(answer) != number:
                self.parts[number] = []
                continue
            kept = list(has)
            fresh = iter(blocks(answer))
            self.parts[number] = [
                kept.pop(next(n for n, (known, _) in enumerate(kept) if known == version))
                if version in [known for known, _ in kept]
                else next(fresh)
                for version in re.search(r'data-order="([^"]*)"', answer)[1].split(".")
                if version
            ]
            assert next(fresh, None) is None, "more was sent than the page lacks"


def blocks(html: str) -> list[tuple[str, str]]:
    """The version and the HTML of each block, without the room between them."""
    found = re.findall(
        r'<li class="talk__item".*?(?=<li class="talk__item"|</ol>\s*(?:<nav|</div|$))',
        html,
        re.DOTALL,
    )
    return [(re.search(r'data-version="(\w+)"', one)[1], one.strip()) for one in found]


def shown(html: str) -> int:
    return int(re.search(r'data-page="(\d+)"', html)[1])


def happen(chance: random.Random, person, org, task: Task) -> None:
    """One thing that an editor does, mostly a message at the end."""
    stored = list(task.messages.order_by("ts"))
    end = max((row.ts for row in stored), default=BEGAN) + 1
    kind = chance.choice(
        ["text", "text", "read", "command", "output", "edit", "ask", "partial", "late", "replaced", "snapshot", "shorter"]
    )  # fmt: skip
    if kind == "snapshot" or (kind == "shorter" and stored):
        documents = [row.document for row in stored]
        keep = documents[: len(documents) // 2] if kind == "shorter" else documents
        Message.unscoped.filter(task=task).delete()
        actions.replace_messages(task_pk=task.pk, messages=keep, requested_at=timezone.now())
        return
    if kind == "replaced" and stored:
        row = chance.choice(stored)
        hear(person, org, {**row.document, "text": f"again {chance.random()}", "partial": False})
        return
    at = chance.randrange(BEGAN, end) if kind == "late" else end
    messages = {
        "read": tool("readFile", path=f"src/{at}.py"),
        "command": {"type": "ask", "ask": "command", "text": "ls"},
        "output": say("command_output", f"line {at}\n"),
        "edit": tool("appliedDiff", path="a.py", diff="@@ -1 +1 @@\n-a\n+b\n"),
        "ask": {"type": "ask", "ask": "followup", "text": '{"question":"?","suggest":[{"answer":"yes"}]}'},
        "partial": {**say("text", "half a"), "partial": True},
    }  # fmt: skip
    hear(person, org, {"ts": at, **messages.get(kind, say("text", f"text {at}"))})


@pytest.mark.parametrize("breaks", [15, pytest.param(200, marks=pytest.mark.faults)])
def test_a_page_repairs_itself_after_whatever_it_missed(client, alice, acme, monkeypatch, breaks):
    """D8: random breaks, in each of which one to four things happen; then it is what a reload shows,
    block by block."""
    monkeypatch.setattr(transcript, "WINDOW", 6)
    chance = random.Random(8)  # noqa: S311
    task = store(alice, acme, texts(4))
    client.force_login(alice)
    page = Page(client)
    for _ in range(breaks):
        for _ in range(chance.randint(1, 4)):
            happen(chance, alice, acme, task)
        page.repair()
        assert page.parts == Page(client).parts


def test_a_page_gets_only_what_it_lacks(client, alice, acme, task):
    client.force_login(alice)
    page = Page(client)
    hear(alice, acme, {"ts": BEGAN + 50, **say("text", "the fourth")})
    known = ".".join(version for version, _ in page.parts[1])
    answer = client.get(f"/task/{TASK}/news", {"page": 1, "known": known}).content.decode()

    assert "the fourth" in answer
    assert "message 1." not in answer
    assert 'class="task__header"' in answer
    assert "task__side" not in answer


def test_a_long_list_of_what_is_known_is_harmless(client, alice, acme, task):
    client.force_login(alice)
    answer = client.get(f"/task/{TASK}/news", {"page": "x" * 50, "known": "a." * 2_000 + "\0é<"})

    assert answer.status_code == 200
    assert len(blocks(answer.content.decode())) == 3


def test_news_cost_few_queries(client, alice, acme, task, django_assert_max_num_queries):
    client.force_login(alice)
    with django_assert_max_num_queries(16):
        client.get(f"/task/{TASK}/news?page=1")


def test_a_page_follows_while_something_may_come(client, alice, acme, task):
    client.force_login(alice)
    assert b"<task-live" in client.get(f"/task/{TASK}").content
    assert b"<task-live" not in client.get(f"/task/{TASK}?find=message").content
    long_ago = timezone.now() - 2 * news._STILL_WARM
    Task.unscoped.update(status=Task.Status.COMPLETED, last_activity_at=long_ago)

    assert b"<task-live" not in client.get(f"/task/{TASK}").content


def test_links_are_not_followed(client, alice, acme, task):
    """A share shows what is there when it is opened: its readers learn of no activity."""
    url = actions.share_task(
        actor=factories.actor(alice, acme), task_id=TASK, visibility="public", at=timezone.now()
    ).url
    assert b"<task-live" not in client.get(url[url.index("/share/") :]).content
