"""Who may see what: J2, J3, J4, and the answers the client understands (trap 25)."""

import json
import re
from base64 import b64encode
from datetime import timedelta
from io import BytesIO
from itertools import product

import pytest
import time_machine
from django.utils import timezone
from PIL import Image

from accounts.actions import deactivate
from orgs import documents
from orgs.actions import current_revision, put_member, remove_member, save_settings
from tasks_sharing import actions, policy
from tasks_sharing.models import Share, Task
from tests import factories

TASK = "task-1"


def dot(kind: str) -> bytes:
    """A picture of one point."""
    out = BytesIO()
    Image.new("RGB", (1, 1)).save(out, kind)
    return out.getvalue()


PNG = dot("png")
IMAGES = [
    f"data:image/png;base64,{b64encode(data).decode()}"
    for data in (
        PNG,
        dot("jpeg"),
        dot("gif"),
        dot("webp"),
        b"<svg></svg>",
        b"<html>",
    )
]


def record(
    person, org=None, *, task_id=TASK, text="The prompt", ts=1, is_from_start=True, **fields
):
    message = {"ts": ts, "type": "say", "say": "text", "text": text, **fields}
    events = [actions.Event("Task Message", {"taskId": task_id, "message": message})]
    if is_from_start:
        events.append(actions.Event("Task Created", {"taskId": task_id}))
    for event in events:
        actions.record_event(actor=factories.actor(person, org), event=event, at=timezone.now())


def ask(client, person, org=None, **body):
    return client.post(
        "/api/extension/share",
        json.dumps({"taskId": TASK, **body}),
        content_type="application/json",
        headers={**factories.bearer(person, org), "User-Agent": "Roo-Code unknown"},
    )


def set_policy(org, by, **cloud):
    document = documents.dump(documents.DEFAULT)
    document["cloudSettings"] |= cloud
    save_settings(
        organization=org, document=document, read_version=current_revision(org).version,
        by=factories.actor(by, org), at=timezone.now(),
    )  # fmt: skip


def path_of(answer) -> str:
    return "/share/" + answer.json()["shareUrl"].rpartition("/")[2]


class TestTheShareButton:
    def test_gives_one_url_a_visibility_and_the_same_again(self, client, alice, acme):
        record(alice, acme)
        first = ask(client, alice, acme, visibility="public").json()
        again = ask(client, alice, acme, visibility="public").json()
        other = ask(client, alice, acme).json()

        assert first["success"] is True
        assert (first["isNewShare"], again["isNewShare"]) == (True, False)
        assert first["shareUrl"] == again["shareUrl"] != other["shareUrl"]
        assert first["manageUrl"].endswith(f"/task/{TASK}")
        assert None not in first.values()

    def test_asks_for_a_backfill_of_an_unknown_task_with_a_json_404(self, client, alice):
        """Trap 25."""
        answer = ask(client, alice, visibility="public")
        assert answer.status_code == 404
        assert answer.json()["success"] is False

    @pytest.mark.parametrize(
        "torn", [{"say": "reasoning"}, {"is_from_start": False, "text": "So, as I said"}]
    )
    def test_asks_for_the_opening_once_a_minute(self, client, alice, torn):
        """A task that is known from its middle on is not shared torn; a client that uploads
        nothing is not asked for ever."""
        record(alice, **torn)
        assert ask(client, alice, visibility="public").status_code == 404
        assert ask(client, alice, visibility="public").status_code == 200

    @pytest.mark.parametrize(
        ("cloud", "visibility", "words"),
        [
            ({"enableTaskSharing": False}, "organization", "sharing is not enabled"),
            ({"enableTaskSharing": False}, "public", "sharing is not enabled"),
            ({"allowPublicTaskSharing": False}, "public", "Public sharing is not enabled"),
            (
                {"workspaceTaskVisibility": "full-lockdown"},
                "organization",
                "sharing is not enabled",
            ),
            ({"workspaceTaskVisibility": "full-lockdown"}, "public", "sharing is not enabled"),
        ],
    )
    def test_a_refusal_by_policy_is_a_200_with_words_the_client_knows(
        self, client, alice, acme, cloud, visibility, words
    ):
        """Trap 25."""
        record(alice, acme)
        set_policy(acme, alice, **cloud)
        answer = ask(client, alice, acme, visibility=visibility)
        assert answer.status_code == 200
        assert answer.json()["success"] is False
        assert words in answer.json()["error"]

    def test_a_personal_task_has_no_organization_to_share_with(self, client, alice):
        record(alice)
        assert "publicly" in ask(client, alice).json()["error"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"taskId": 5}, "taskId"),
            ({"taskId": ""}, "taskId"),
            ({"visibility": "world"}, "visibility"),
            ({"visibility": None}, "visibility"),
        ],
    )
    def test_bad_input_names_the_field(self, client, alice, body, field):
        answer = ask(client, alice, **body)
        assert (answer.status_code, answer.json()["field"]) == (400, field)

    @pytest.mark.parametrize("task_id", ["\x00", "a/b", "é", "x" * 64])
    def test_odd_ids_are_unknown(self, client, alice, task_id):
        assert ask(client, alice, taskId=task_id).status_code == 404

    def test_somebody_elses_task_is_unknown(self, client, alice, bob, acme):
        record(alice, acme)
        assert ask(client, bob, acme).status_code == 404

    def test_a_link_ends_with_the_policy_and_sharing_again_renews_it(self, client, alice, acme):
        record(alice, acme)
        with time_machine.travel(timezone.now()) as clock:
            path = path_of(ask(client, alice, acme, visibility="public"))
            clock.shift(timedelta(days=29))
            ask(client, alice, acme, visibility="public")
            clock.shift(timedelta(days=29))
            assert client.get(path).status_code == 200
            clock.shift(timedelta(days=2))
            assert client.get(path).status_code == 404
            assert ask(client, alice, acme, visibility="public").json()["isNewShare"] is True

    def test_the_token_is_nowhere_in_the_clear(self, client, alice, acme):
        """J3"""
        record(alice, acme)
        token = path_of(ask(client, alice, acme)).rpartition("/")[2]
        assert len(token) >= 40
        assert all(token not in str(v) for v in Share.unscoped.values().get().values())


class TestTheSharePage:
    @pytest.fixture
    def public(self, client, alice, acme):
        record(alice, acme)
        return path_of(ask(client, alice, acme, visibility="public"))

    @pytest.fixture
    def internal(self, client, alice, acme):
        record(alice, acme)
        return path_of(ask(client, alice, acme))

    def test_a_public_link_shows_the_task_to_a_stranger(self, client, public):
        assert b"The prompt" in client.get(public).content

    def test_an_internal_link_is_for_members(self, client, internal, bob, mallory):
        assert client.get(internal).status_code == 404
        assert b"Sign in" in client.get(internal).content
        for person, status in ((mallory, 404), (bob, 200)):
            client.force_login(person)
            assert client.get(internal).status_code == status

    def test_the_present_state_decides(self, client, public, internal, alice, bob, acme):
        """J2: policy, membership and revocation count from the next request on."""
        client.force_login(bob)
        assert client.get(internal).status_code == 200
        set_policy(acme, alice, enableTaskSharing=False)
        assert [client.get(p).status_code for p in (public, internal)] == [404, 404]
        set_policy(acme, alice, allowPublicTaskSharing=False)
        assert [client.get(p).status_code for p in (public, internal)] == [404, 200]
        remove_member(
            organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        assert client.get(internal).status_code == 404

    def test_a_revoked_link_is_gone(self, client, public, alice):
        share = Share.unscoped.get()
        client.force_login(alice)
        assert b"Revoke" in client.get(f"/shares/{share.pk}/revoke").content
        client.post(f"/shares/{share.pk}/revoke")
        client.logout()
        assert client.get(public).status_code == 404

    def test_unknown_revoked_expired_and_forbidden_look_the_same(
        self, client, public, internal, alice, acme
    ):
        """J3: byte by byte, but for the nonce-free page's own address."""
        Share.unscoped.filter(visibility="public").update(revoked_at=timezone.now())

        def seen(path):
            return client.get(path).content.replace(path.encode(), b"PATH")

        unknown = seen("/share/s_unknown")
        assert seen(public) == unknown
        assert seen(internal) == unknown

    @pytest.mark.parametrize("who", ["stranger", "owner"])
    @pytest.mark.parametrize("method", ["get", "head", "post", "options"])
    def test_every_answer_carries_the_headers(self, client, public, internal, alice, who, method):
        """J4"""
        if who == "owner":
            client.force_login(alice)
        for path in (public, internal, "/share/unknown", f"/task/{TASK}", "/task/unknown"):
            headers = getattr(client, method)(path).headers
            assert "noindex" in headers["X-Robots-Tag"], path
            referrer = "no-referrer" if path.startswith("/share/") else "same-origin"
            assert headers["Referrer-Policy"] == referrer
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"

    @pytest.fixture
    def pictured(self, client, alice, acme):
        record(alice, acme, text="Look", images=IMAGES)
        path = path_of(ask(client, alice, acme, visibility="public"))
        return path, f"{path}/image/{Task.unscoped.get().messages.get().pk}"

    def test_images_are_asked_for_one_by_one(self, client, pictured, alice):
        """A page of screenshots was eighty megabytes."""
        path, images = pictured
        html = client.get(path).content.decode()
        assert "data:image" not in html
        assert re.findall(r'src="([^"]*/image/[^"]*)"', html) == [f"{images}/{n}" for n in range(4)]
        types = [client.get(f"{images}/{n}").headers["Content-Type"] for n in range(4)]
        assert types == ["image/png", "image/jpeg", "image/gif", "image/webp"]
        assert client.get(f"{images}/0").content == PNG
        client.force_login(alice)
        own = images.replace(path, f"/task/{TASK}")
        assert client.get(f"{own}/0").content == PNG

    @pytest.mark.parametrize("index", [4, 5, 6, 99, 10**30])
    def test_what_is_no_image_is_not_served(self, client, pictured, index):
        """J1: a type that the bytes do not show is somebody's lie."""
        assert client.get(f"{pictured[1]}/{index}").status_code == 404

    def test_an_image_is_its_own_tasks_alone_and_goes_with_the_link(self, client, pictured, bob):
        path, images = pictured
        record(bob, task_id="other", images=IMAGES)
        other = Task.unscoped.get(owner=bob).messages.get().pk
        assert client.get(f"{path}/image/{other}/0").status_code == 404
        assert client.get(f"{path}/image/{10**30}/0").status_code == 404
        assert client.get(f"{images}/0").status_code == 200
        Share.unscoped.update(revoked_at=timezone.now())
        assert client.get(f"{images}/0").status_code == 404

    def test_an_image_carries_the_headers_too(self, client, pictured):
        """J4"""
        for path in (f"{pictured[1]}/0", f"{pictured[1]}/9", "/share/unknown/image/1/0"):
            headers = client.get(path).headers
            assert "noindex" in headers["X-Robots-Tag"], path
            assert (headers["Cache-Control"], headers["X-Frame-Options"]) == ("no-store", "DENY")
            assert headers["X-Content-Type-Options"] == "nosniff"

    def test_a_long_conversation_has_pages_and_few_queries(
        self, client, alice, acme, django_assert_max_num_queries, django_assert_num_queries
    ):
        record(alice, acme)
        task = Task.unscoped.get()
        path = path_of(ask(client, alice, acme, visibility="public"))

        def fill(count):
            rows = [
                {"ts": n, "type": "say", "say": "text", "text": f"message {n}"}
                for n in range(count)
            ]
            actions.replace_messages(task_pk=task.pk, messages=rows, requested_at=timezone.now())

        fill(30)
        with django_assert_max_num_queries(12) as few:
            client.get(path)
        fill(150)
        with django_assert_num_queries(len(few.captured_queries)):
            client.get(path)
        fill(250)
        assert b"Messages 1 to 100 of 250" in client.get(path).content
        assert b"message 249" in client.get(f"{path}?page=3").content

    def test_a_stored_snapshot_is_the_whole_task(self, client, alice):
        record(alice, is_from_start=False, text="So, as I said")
        rows = [{"ts": 1, "type": "say", "say": "text", "text": "The prompt"}]
        actions.replace_messages(
            task_pk=Task.unscoped.get().pk, messages=rows, requested_at=timezone.now()
        )
        assert ask(client, alice, visibility="public").status_code == 200

    def test_a_page_waits_for_a_backfill_that_was_accepted(self, client, alice, acme):
        actions.expect_backfill(
            actor=factories.actor(alice, acme), task_id=TASK, properties={}, at=timezone.now()
        )
        path = path_of(ask(client, alice, acme, visibility="public"))
        assert b"being prepared" in client.get(path).content


VISIBILITIES = ["all", "list-only", "admins-and-creator", "creator", "full-lockdown"]
ROLES = ["owner", "admin", "member", "readonly", None]
MAY_OPEN = {
    "all": {"owner", "admin", "member", "readonly"},
    "list-only": {"owner", "admin"},
    "admins-and-creator": {"owner", "admin"},
    "creator": set(),
    "full-lockdown": set(),
}


@pytest.mark.parametrize(
    ("visibility", "boolean", "role", "is_mine", "is_personal"),
    [*product([*VISIBILITIES, None], [True, False, None], ROLES, [True, False], [True, False])],
)
def test_who_may_open_a_task(visibility, boolean, role, is_mine, is_personal):
    """J2: the truth table of protocol/settings.md §3, 360 cells."""
    fields = {}
    if visibility:
        fields["workspace_task_visibility"] = visibility
    if boolean is not None:
        fields["allow_members_view_all_tasks"] = boolean
    cloud = documents.CloudSettings(**fields)
    task = Task(owner_id="user_owner", organization_id=None if is_personal else "org_1")
    viewer_role = None if is_personal else role

    seen = policy.may_open(
        task,
        viewer_id="user_owner" if is_mine else "user_other",
        viewer_role=viewer_role,
        cloud=cloud,
    )

    meant = visibility or ("all" if boolean else "admins-and-creator")
    if is_personal:
        expected = is_mine
    elif is_mine:
        expected = role is not None and meant != "full-lockdown"
    else:
        expected = role in MAY_OPEN[meant]
    assert seen is expected


ACTIVE, LEFT, CLOSED = (
    policy.Maker(is_active=True, role="member"),
    policy.Maker(is_active=True, role=None),
    policy.Maker(is_active=False, role="member"),
)


@pytest.mark.parametrize(
    ("visibility", "enabled", "public_on", "role", "state", "maker"),
    [*product(
        ["organization", "public"], [True, False, None], [True, False, None], ["owner", "readonly", None],
        ["live", "revoked", "expired", "endless"], [ACTIVE, LEFT, CLOSED],
    )],
)  # fmt: skip
def test_who_may_follow_a_link(visibility, enabled, public_on, role, state, maker):
    """J2, A4: another 648 cells."""
    now = timezone.now()
    fields = {}
    if enabled is not None:
        fields["enable_task_sharing"] = enabled
    if public_on is not None:
        fields["allow_public_task_sharing"] = public_on
    share = Share(
        task=Task(organization_id="org_1"),
        visibility=visibility,
        expires_at={"expired": now, "endless": None}.get(state, now + timedelta(days=1)),
        revoked_at=now if state == "revoked" else None,
    )

    def may_follow(**more):
        cloud = documents.CloudSettings(**fields, **more)
        return policy.may_follow(share, maker=maker, viewer_role=role, cloud=cloud, at=now)

    allowed = enabled is True and (visibility == "organization" or public_on is not False)
    assert may_follow() is (
        maker is ACTIVE
        and state in ("live", "endless")
        and allowed
        and (visibility == "public" or role is not None)
    )
    assert not may_follow(workspace_task_visibility="full-lockdown")


class TestWhoLeft:
    """A4, J2: what somebody recorded in an organization stays with it when they go."""

    @pytest.fixture
    def link(self, client, bob, acme):
        record(bob, acme)
        path = path_of(ask(client, bob, acme, visibility="public"))
        assert client.get(path).status_code == 200
        return path

    @pytest.fixture
    def gone(self, link, alice, bob, acme):
        remove_member(
            organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        return bob

    def test_shows_no_old_link(self, client, link, gone):
        assert client.get(link).status_code == 404

    def test_makes_no_new_link(self, client, link, gone):
        Share.unscoped.all().delete()
        for visibility in ("public", "organization"):
            answer = ask(client, gone, visibility=visibility)
            assert (answer.status_code, answer.json()["success"]) == (404, False)
        assert not Share.unscoped.exists()

    def test_reaches_no_page_of_the_task(self, client, link, gone):
        client.force_login(gone)
        share = Share.unscoped.get()
        for path in (f"/task/{TASK}", f"/task/{TASK}/delete", f"/shares/{share.pk}/revoke"):
            assert client.get(path).status_code == 404, path
            assert client.post(path).status_code in (404, 405), path
        assert Task.unscoped.exists()
        assert Share.unscoped.get().revoked_at is None

    @pytest.mark.parametrize("is_retry", [True, False])
    def test_records_nothing_more_and_is_told_nothing(self, client, link, gone, is_retry):
        """D4: the client hears of no error, for it would drop the event or send it for ever."""
        before = Task.unscoped.values().get()
        headers = {"X-Retry-Queue": "true"} if is_retry else {}
        for kind, properties in (
            ("Task Message", {"message": {"ts": 9, "type": "say", "say": "text", "text": "More"}}),
            ("LLM Completion", {"cost": 5, "inputTokens": 1, "outputTokens": 1}),
            ("Task Completed", {"mode": "other"}),
        ):
            answer = client.post(
                "/api/events",
                json.dumps({"type": kind, "properties": {"taskId": TASK, **properties}}),
                content_type="application/json",
                headers={**factories.bearer(gone), **headers},
            )
            assert answer.status_code == 200
        assert Task.unscoped.values().get() == before
        assert Task.unscoped.get().messages.count() == 1

    def test_replaces_nothing_by_an_upload(self, client, link, gone):
        from telemetry.models import Backfill

        body = {"taskId": TASK, "messages": [{"ts": 5, "type": "say", "say": "text", "text": "x"}]}
        answer = client.post(
            "/api/events/backfill",
            json.dumps(body),
            content_type="application/json",
            headers=factories.bearer(gone),
        )
        assert answer.json() == {"success": True, "accepted": 0, "rejected": 1}
        assert not Backfill.unscoped.exists()
        assert Task.unscoped.get().backfill_requested_at is None

    def test_has_it_back_on_coming_back(self, client, link, gone, acme):
        put_member(organization=acme, user=gone, role="member", by=None, at=timezone.now())
        assert client.get(link).status_code == 200

    def test_leaves_the_task_to_those_who_stay(self, client, link, gone, alice):
        client.force_login(alice)
        assert client.get(f"/task/{TASK}").status_code == 200

    @pytest.mark.parametrize("is_personal", [True, False])
    def test_a_closed_account_shares_nothing(self, client, bob, acme, is_personal):
        org = None if is_personal else acme
        record(bob, org)
        path = path_of(ask(client, bob, org, visibility="public"))
        assert client.get(path).status_code == 200
        deactivate(user_id=bob.pk, at=timezone.now())
        assert client.get(path).status_code == 404


class TestLists:
    def test_mine_the_teams_search_and_delete(self, client, alice, bob, acme):
        record(alice, acme, text="Alpha work")
        record(bob, acme, task_id="task-2", text="Beta work")
        client.force_login(alice)
        assert b"Alpha" in client.get("/tasks").content
        assert b"Beta" not in client.get("/tasks").content
        assert b"Beta" in client.get("/tasks?of=team").content
        assert b"Beta" not in client.get("/tasks?of=team&q=alpha").content
        assert b"Nothing matches" in client.get("/tasks?q=%00zzz").content
        assert b"cannot be undone" in client.get(f"/task/{TASK}/delete").content
        client.post(f"/task/{TASK}/delete")
        assert not Task.unscoped.filter(owner=alice).exists()

    def test_policy_hides_colleagues_tasks(self, client, alice, bob, rhea, acme):
        record(alice, acme, text="Alpha work")
        client.force_login(rhea)
        assert client.get(f"/task/{TASK}").status_code == 200
        set_policy(acme, alice, workspaceTaskVisibility="creator")
        assert client.get(f"/task/{TASK}").status_code == 404
        assert b"Alpha" not in client.get("/tasks?of=team").content

    def test_the_list_asks_as_much_for_thirty_as_for_three(
        self, client, alice, acme, django_assert_max_num_queries, django_assert_num_queries
    ):
        client.force_login(alice)
        for number in range(3):
            record(alice, acme, task_id=f"t-{number}")
        client.get("/tasks?of=team")
        with django_assert_max_num_queries(11) as few:  # two of them are a savepoint
            client.get("/tasks?of=team")
        for number in range(3, 30):
            record(alice, acme, task_id=f"t-{number}")
        with django_assert_num_queries(len(few.captured_queries)):
            client.get("/tasks?of=team")
