"""Owners and admins who watch a member's editor, where their organization allows it (R1, B4)."""

import time
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import browsers
from accounts.single_sign_on import PREFIX
from audit.models import Entry
from bridge import events, watching
from bridge.hub import ClientKind, Hub, Peer
from bridge.models import Watcher
from bridge.tokens import Standing
from orgs import actions
from orgs.models import Domain, Membership, SingleSignOn
from orgs.policy import RemotePolicy
from roocloud.asgi import application
from tests import factories
from tests.bridge.conftest import cookies_of, instance, message, question, token_of
from tests.bridge.test_pages import see
from tests.live import serving
from tests.orgs.test_single_sign_on import verified


def allow(acme, alice, *, is_on=True, admins_watch=True):
    actions.set_remote_policy(
        organization=acme,
        policy=RemotePolicy(is_on, admins_watch=admins_watch),
        by=factories.actor(alice, acme),
        at=timezone.now(),
    )


def let_read(acme, alice, visibility):
    """The settings' own word on who reads members' tasks."""
    current = actions.current_revision(acme)
    cloud = {**current.document["cloudSettings"], "workspaceTaskVisibility": visibility}
    actions.save_settings(
        organization=acme,
        document={**current.document, "cloudSettings": cloud},
        read_version=current.version,
        by=factories.actor(alice, acme),
        note="",
        at=timezone.now(),
    )


def ref(person, organization, window="window-1"):
    return {"organizationId": organization.pk, "userId": person.pk, "instanceId": window}


def watcher(world, person, found, *, url=""):
    browser = world.browser(cookies_of(person), url=url)
    browser.wait("connect")
    return browser, browser.ask("editor:watch", found)


class TestWhoMay:
    """R1, A1: the same answer as for what is not there."""

    @pytest.mark.parametrize(
        ("who", "may"),
        [("alice", True), ("adam", True), ("bob", False), ("rhea", False), ("mallory", False)],
    )
    def test_by_role(self, world, request, alice, acme, evil, who, may):
        member = factories.user("max@acme.example", first_name="Max")
        Membership.unscoped.create(
            organization=acme, user=member, role="member",
            created_at=timezone.now(), updated_at=timezone.now(),
        )  # fmt: skip
        allow(acme, alice)
        editor = world.working_editor(token_of(member, acme))

        browser, answer = watcher(world, request.getfixturevalue(who), ref(member, acme))
        unknown = browser.ask("editor:watch", ref(member, acme, "window-x"))
        browser.ask("editor:watch", ref(member, acme))
        editor.emit("task:event", message(1, "rm -rf build"), None)

        assert unknown == {"success": False, "error": "not_found"}
        if may:
            assert answer == {"success": True}
            assert browser.wait("watch:task_event")[0]["message"]["text"] == "rm -rf build"
        else:
            assert answer == unknown
            owner = world.following_browser(cookies_of(member))
            editor.emit("task:event", message(2), None)
            owner.wait("task:relayed_event")
            assert not [name for name, _ in browser.heard if name.startswith("watch:")]

    @pytest.mark.parametrize("is_on", [True, False], ids=["not allowed", "switched off"])
    def test_nobody_where_the_organization_does_not_allow_it(
        self, world, alice, adam, bob, acme, is_on
    ):
        allow(acme, alice, is_on=True, admins_watch=False)
        world.working_editor(token_of(bob, acme))
        allow(acme, alice, is_on=is_on, admins_watch=not is_on)

        _, answer = watcher(world, adam, ref(bob, acme))

        assert answer == {"success": False, "error": "not_found"}

    @pytest.mark.parametrize("visibility", ["creator", "full-lockdown"])
    def test_nobody_where_the_settings_keep_tasks_to_their_people(
        self, world, alice, adam, bob, acme, visibility
    ):
        """R1: both policies."""
        allow(acme, alice)
        let_read(acme, alice, visibility)
        world.working_editor(token_of(bob, acme))

        assert watcher(world, adam, ref(bob, acme))[1]["success"] is False

    def test_nobody_a_personal_account(self, world, alice, adam, bob, acme):
        allow(acme, alice)
        world.working_editor(token_of(bob))

        assert watcher(world, adam, ref(bob, acme))[1]["success"] is False

    def test_an_admin_of_another_organization_does_not(
        self, world, alice, bob, mallory, acme, evil
    ):
        allow(acme, alice)
        allow(evil, mallory)
        world.working_editor(token_of(bob, acme))

        for organization in (acme, evil):
            assert watcher(world, mallory, ref(bob, organization))[1]["success"] is False


@pytest.fixture
def watched(world, alice, adam, bob, acme):
    """bob's editor, bob's browser, and adam's, which watches."""
    allow(acme, alice)
    editor = world.working_editor(token_of(bob, acme))
    owner = world.following_browser(cookies_of(bob))
    browser, answer = watcher(world, adam, ref(bob, acme))
    assert answer["success"] is True
    return editor, owner, browser


def test_a_watcher_sees_what_happens_and_commands_nothing(watched, bob):
    """R1: control is the owner's alone."""
    editor, _, browser = watched
    [event] = browser.wait("watch:extension_event")
    assert event["type"] == "instance_registered"
    editor.emit("task:event", question(5), None)
    browser.wait("watch:task_event")

    start = {"type": "start_task", "instanceId": "window-1", "payload": {"text": "x"}}
    say = {"type": "message", "taskId": "task-1", "payload": {"text": "x"}}
    approve = {"type": "approve_ask", "taskId": "task-1", "askTs": 5, "payload": {}}

    assert browser.ask("extension:command", start)["error"] == "instance_offline"
    assert browser.ask("task:command", say)["error"] == "task_not_found"
    assert browser.ask("task:command", approve)["error"] == "task_not_found"
    browser.ask("task:join", {"taskId": "task-1"})
    editor.emit("task:event", message(6), None)
    browser.wait("watch:task_event", lambda e: e["message"]["ts"] == 6)
    assert browser.count("task:relayed_event") == 0
    assert editor.count("extension:relayed_command") == editor.count("task:relayed_command") == 0


def test_its_person_sees_who_watches(watched, world, alice, bob, acme):
    _, owner, _ = watched
    assert owner.wait("instance:watched") == [{"instanceId": "window-1", "people": ["Adam"]}]
    second, _ = watcher(world, alice, ref(bob, acme))
    assert owner.wait("instance:watched")[0]["people"] == ["Adam", "Alice Archer"]

    later = world.browser(cookies_of(bob))
    assert later.wait("instance:watched")[0]["people"] == ["Adam", "Alice Archer"]

    second.close()
    assert owner.wait("instance:watched")[0]["people"] == ["Adam"]


class TestItsPages:
    """R1, A1, A2"""

    @pytest.mark.parametrize("who", ["alice", "adam", "bob", "rhea", "mallory"])
    def test_are_there_for_owners_and_admins_alone(self, client, request, alice, acme, evil, who):
        member = factories.user("max@acme.example", first_name="Max")
        see(member, organization=acme)
        allow(acme, alice)
        client.force_login(request.getfixturevalue(who))
        pages = [
            f"/organizations/{acme.pk}/editors",
            f"/organizations/{acme.pk}/editors/{member.pk}/window-1",
        ]

        answers = [client.get(page) for page in pages]

        if who in ("alice", "adam"):
            assert all(answer.status_code == 200 for answer in answers)
            assert "Mend the till" in answers[1].content.decode()
            assert "<roomote-composer" not in answers[1].content.decode()
        else:
            assert [answer.status_code for answer in answers] == [404, 404]

    def test_are_not_there_where_nobody_may_watch(self, client, adam, bob, acme):
        see(bob, organization=acme)
        client.force_login(adam)

        assert client.get(f"/organizations/{acme.pk}/editors").status_code == 404
        assert client.get(f"/organizations/{acme.pk}/editors/{bob.pk}/window-1").status_code == 404
        assert b"Running editors" not in client.get(f"/organizations/{acme.pk}").content

    def test_list_the_running_editors_of_this_organization(self, client, alice, adam, bob, acme):
        allow(acme, alice)
        see(bob, organization=acme, instanceId="here")
        see(bob, instanceId="personal")
        see(bob, organization=acme, instanceId="gone", ago=timedelta(minutes=2))
        see(adam, organization=acme, instanceId="own")
        client.force_login(adam)

        page = client.get(f"/organizations/{acme.pk}/editors").content.decode()

        shown = ("here", "personal", "gone", "own")
        assert [window for window in shown if f'data-instance="{window}"' in page] == ["here"]

    def test_say_in_the_list_who_and_where_and_nothing_of_the_task(self, client, alice, bob, acme):
        """R1: what a task is about, and what it asks, is for a look that leaves a trace."""
        allow(acme, alice)
        asks = question(5, text="npm test")["message"]
        see(bob, organization=acme, taskAsk=asks, task={"taskStatus": "interactive"})
        client.force_login(alice)
        see(bob, organization=acme, instanceId="other", task={"task": "Another secret"})

        pages = [
            client.get(f"/organizations/{acme.pk}/editors").content.decode(),
            client.get(f"/organizations/{acme.pk}/editors/{bob.pk}/other").content.decode(),
        ]

        for page in pages:
            for words in (bob.name, "shop · desk", "needs you"):
                assert words in page, words
            assert "Mend the till" not in page
            assert "npm test" not in page
        assert "Another secret" not in pages[0]
        [entry] = Entry.objects.filter(action="editor.watched")
        assert entry.target_id == "other"

    def test_of_one_editor_are_a_look_with_its_trace_that_its_person_sees(
        self, client, alice, adam, bob, acme, time_machine
    ):
        """R1, L4: without a script too."""
        now = timezone.now()
        time_machine.move_to(now, tick=False)
        allow(acme, alice)
        see(bob, organization=acme)
        path = f"/organizations/{acme.pk}/editors/{bob.pk}/window-1"

        def look(at):
            time_machine.move_to(at, tick=False)
            client.force_login(adam)
            assert client.get(path).status_code == 200
            return Entry.objects.filter(action="editor.watched").count()

        assert look(now) == 1
        entry = Entry.objects.get(action="editor.watched")
        assert (entry.actor_id, entry.after) == (adam.pk, {"owner": bob.pk})
        client.force_login(bob)
        for page in ("/roomote", "/roomote/window-1"):
            assert "Adam is watching" in client.get(page).content.decode()

        soon = watching.WATCHER_LIFETIME - timedelta(seconds=1)
        assert look(now + soon) == 1
        assert look(now + 2 * soon) == 1
        over = now + 2 * soon + watching.WATCHER_LIFETIME
        assert watching.people([bob.pk], at=over) == {}
        assert look(over) == 2
        assert watching.people([bob.pk], at=over) == {(bob.pk, "window-1"): ["Adam"]}

    def test_ask_as_much_for_thirty_editors_as_for_three(self, client, alice, adam, bob, acme):
        allow(acme, alice)
        client.force_login(adam)

        def queries() -> int:
            with CaptureQueriesContext(connection) as asked:
                client.get(f"/organizations/{acme.pk}/editors")
            return len(asked)

        for n in range(3):
            see(bob, organization=acme, instanceId=f"few-{n}")
        queries()  # the first looks up the session's context
        few = queries()
        for n in range(27):
            see(bob, organization=acme, instanceId=f"many-{n}")

        assert queries() == few

    def test_members_read_that_they_may_be_watched_and_by_whom(
        self, client, alice, adam, bob, acme
    ):
        see(bob, organization=acme)
        client.force_login(bob)
        assert "may watch" not in client.get("/roomote").content.decode()
        allow(acme, alice)
        watching.begin(
            viewer_id=adam.pk,
            organization_id=acme.pk,
            owner_id=bob.pk,
            instance_id="window-1",
            signed_on=frozenset(),
            at=timezone.now(),
        )

        page = client.get("/roomote").content.decode()

        assert "Owners and admins of Acme may watch" in page
        assert "Adam is watching" in page
        assert "Adam is watching" in client.get("/roomote/window-1").content.decode()


def test_its_person_hears_at_once_of_a_look_at_the_page_alone(world, alice, adam, bob, acme):
    """R1: without a socket."""
    allow(acme, alice)
    world.working_editor(token_of(bob, acme))
    owner = world.following_browser(cookies_of(bob))

    page = HTTPConnection(urlsplit(world.url).netloc, timeout=20)
    path = f"/organizations/{acme.pk}/editors/{bob.pk}/window-1"
    page.request("GET", path, headers={"Cookie": cookies_of(adam)})
    assert page.getresponse().status == 200
    page.close()

    assert owner.wait("instance:watched", lambda e: e["people"]) == [
        {"instanceId": "window-1", "people": ["Adam"]}
    ]


class TestWhereSingleSignOnIsRequired:
    """B4: who signed in otherwise is not let in here either."""

    @pytest.fixture
    def asked(self, alice, acme, bob, adam):
        allow(acme, alice)
        verified(adam)
        at = timezone.now()
        Domain.unscoped.create(
            organization=acme, name="acme.example", token="t", created_at=at, verified_at=at
        )
        return SingleSignOn.unscoped.create(
            organization=acme, is_required=True, break_glass_id=alice.pk, updated_at=at
        )

    def test_its_pages_are_for_who_came_by_it(self, client, asked, adam, bob, acme):
        see(bob, organization=acme)
        pages = [
            f"/organizations/{acme.pk}/editors",
            f"/organizations/{acme.pk}/editors/{bob.pk}/window-1",
        ]
        client.force_login(adam)
        assert [client.get(page).status_code for page in pages] == [404, 404]
        assert not Entry.objects.filter(action="editor.watched").exists()

        came_by(client.session, adam, acme)
        assert [client.get(page).status_code for page in pages] == [200, 200]

    def test_a_socket_watches_for_who_came_by_it(self, world, asked, adam, bob, acme):
        world.working_editor(token_of(bob, acme))
        cookies = cookies_of(adam)
        _, answer = watcher(world, adam, ref(bob, acme))
        assert answer == {"success": False, "error": "not_found"}

        key = browsers.session_key(cookies)
        came_by(SessionStore(key), adam, acme)
        browser = world.browser(cookies)
        browser.wait("connect")
        assert browser.ask("editor:watch", ref(bob, acme))["success"] is True

    def test_a_watch_ends_when_it_is_asked_for(self, world, asked, adam, bob, acme):
        SingleSignOn.unscoped.update(is_required=False)
        world.working_editor(token_of(bob, acme))
        browser, answer = watcher(world, adam, ref(bob, acme))
        assert answer["success"] is True
        SingleSignOn.unscoped.update(is_required=True)
        browser.wait("watch:ended")
        assert not Watcher.unscoped.exists()

    def test_a_watch_by_another_sign_in_goes_on(self, asked, adam, bob, acme):
        see(bob, organization=acme)
        by_it = frozenset({f"{PREFIX}{acme.pk}"})
        at = timezone.now()
        watch, _ = watching.begin(
            viewer_id=adam.pk, organization_id=acme.pk, owner_id=bob.pk,
            instance_id="window-1", signed_on=by_it, at=at,
        )  # fmt: skip
        assert watching.renew([watch, replace(watch, signed_on=frozenset())], at=at) == {watch}
        assert Watcher.unscoped.count() == 1


def came_by(session, person, organization) -> None:
    """A web session as the organization's single sign-on leaves it."""
    records = session.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    named = {"method": "socialaccount", "provider": f"{PREFIX}{organization.pk}", "at": time.time()}
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [*records, named]
    session["account_authentication_methods_user"] = person.pk
    session.save()


def test_each_look_leaves_one_trace(watched, adam, bob, acme):
    """L4"""
    _, _, browser = watched
    browser.ask("editor:watch", ref(bob, acme))

    entry = Entry.objects.get(action="editor.watched")
    assert (entry.actor_id, entry.organization_id) == (adam.pk, acme.pk)
    assert (entry.target_id, entry.after) == ("window-1", {"owner": bob.pk})


def ends(how, alice, adam, bob, acme):
    match how:
        case "policy":
            allow(acme, alice, admins_watch=False)
        case "settings":
            let_read(acme, alice, "creator")
        case "role":
            Membership.unscoped.filter(user=adam).update(role="member")
        case "membership":
            Membership.unscoped.filter(user=adam).delete()


@pytest.mark.parametrize("how", ["policy", "settings", "role", "membership"])
def test_it_ends_with_the_right_to_it(watched, alice, adam, bob, acme, how):
    """B4"""
    editor, owner, browser = watched
    owner.wait("instance:watched")
    began = time.monotonic()

    ends(how, alice, adam, bob, acme)

    browser.wait("watch:ended")
    assert time.monotonic() - began < 5
    assert owner.wait("instance:watched")[0]["people"] == []
    heard = browser.count("watch:task_event")
    editor.emit("task:event", message(2), None)
    owner.wait("task:relayed_event")
    assert browser.ask("task:leave", {"taskId": "-"})["success"] is True  # a fence
    assert browser.count("watch:task_event") == heard
    assert not Watcher.unscoped.exists()


async def test_each_event_is_judged_again():
    """R1: the room of an editor's watchers is no permission."""
    hub = Hub(redis_url="", deliver=events.deliver)
    browser = Peer(
        sid="sid_1", kind=ClientKind.WEB, standing=Standing("u"), credential="", device=""
    )
    watch = watching.Watch("u", "org_1", "user_1", "window-1", "inst_1")
    now = time.monotonic()

    hub.watch(browser, watch, until=now + 60)
    hub.show(watch.room, "while it may")
    hub.watch(browser, watch, until=now - 1)
    hub.show(watch.room, "when that was looked at too long ago")
    hub.watch(browser, None)
    hub.enter(browser, watch.room)
    hub.show(watch.room, "while it is in the room alone")

    assert browser.rest(10**6) == ["while it may"]


def test_a_watcher_hears_that_the_editor_went_and_came_back(watched):
    editor, _, browser = watched
    editor.cut()
    browser.wait("watch:lost")
    editor.wait("connect", lambda *_: editor.count("connect") == 2)
    editor.emit("extension:register", instance(), None)
    browser.wait("watch:extension_event", lambda e: e["type"] == "instance_registered")
    editor.emit("extension:unregister", instance(), None)
    browser.wait("watch:extension_event", lambda e: e["type"] == "instance_unregistered")


def test_who_was_not_renewed_watches_no_more(watched, bob):
    """A process that died with its sockets."""
    _, _, browser = watched
    browser.ask("editor:unwatch", {})
    later = timezone.now() + watching.WATCHER_LIFETIME + timedelta(seconds=1)

    assert watching.people([bob.pk], at=later) == {}
    assert watching.expire(at=later) == {(bob.pk, "window-1")}
    assert not Watcher.unscoped.exists()


def test_a_look_at_many_watchers_costs_as_much_as_at_one(
    alice, adam, bob, acme, evil, mallory, django_assert_max_num_queries
):
    watches = [
        watching.Watch(person.pk, organization.pk, bob.pk, f"window-{n}", f"inst_{n}")
        for n in range(20)
        for person in (alice, adam, mallory)
        for organization in (acme, evil)
    ]
    with django_assert_max_num_queries(9):
        assert watching.renew(watches, at=timezone.now()) == set()


@pytest.mark.postgresql
def test_it_crosses_processes(world, alice, adam, bob, acme):
    allow(acme, alice)
    editor = world.working_editor(token_of(bob, acme))
    owner = world.following_browser(cookies_of(bob))
    with serving(application) as there:
        browser, answer = watcher(world, adam, ref(bob, acme), url=there)
        assert answer["success"] is True
        assert owner.wait("instance:watched")[0]["people"] == ["Adam"]
        for ts in range(1, 20):  # until the room is joined everywhere
            editor.emit("task:event", message(ts), None)
            owner.wait("task:relayed_event")
            try:
                browser.wait("watch:task_event", patience_s=0.5)
            except AssertionError:
                continue
            break
        assert browser.count("watch:task_event") > 0
