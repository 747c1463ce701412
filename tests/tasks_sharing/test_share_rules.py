"""Links as their owners govern them, and who may follow one: J2, J3, J4 through the real routes."""

import re
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from itertools import product
from secrets import token_bytes
from urllib.parse import quote

import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from audit.models import Entry
from orgs import documents
from orgs.actions import current_revision, put_member, remove_member, save_settings
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.paths import confidential_headers
from tasks_sharing import actions, queries
from tasks_sharing.models import Share, ShareView, Task
from tests import factories
from tests.tasks_sharing.test_sharing import TASK, ask, path_of, record, set_policy

#: What decides, each as the organization may have set it; a policy is one of each.
ENABLED, PUBLIC, VISIBILITY, DAYS = (
    (True, False),
    (True, False, None),
    ("all", "creator", "full-lockdown", None),
    (3, 30, None),
)
READERS = ["stranger", "member", "readonly", "outsider", "owner"]
STATES = ["fresh", "ten days old", "revoked"]


def expected(policy, kind: str, state: str, reader: str) -> bool:
    """The decision table, written out once more and in other words than the code's."""
    enabled, public, visibility, days = policy
    if state == "revoked" or not enabled or visibility == "full-lockdown":
        return False
    if state == "ten days old" and days == 3:
        return False
    if kind == "public":
        return public is not False
    return reader in ("member", "readonly", "owner")


def as_cloud(policy) -> dict:
    """An absent setting is absent from the document."""
    names = "enableTaskSharing", "allowPublicTaskSharing", "workspaceTaskVisibility"
    days = {"taskShareExpirationDays": policy[3]} if policy[3] else {}
    named = zip(names, policy[:3], strict=True)
    return {**{name: value for name, value in named if value is not None}, **days}


def set_whole_policy(org, by, policy) -> None:
    """These settings and no others, default ones neither."""
    document = documents.dump(documents.DEFAULT)
    document["cloudSettings"] = {"recordTaskMessages": True, **as_cloud(policy)}
    save_settings(
        organization=org, document=document, read_version=current_revision(org).version,
        by=factories.actor(by, org), at=timezone.now(),
    )  # fmt: skip


@pytest.fixture
def shares(client, alice, acme):
    """A path by kind and state. They were made under the most generous policy."""
    set_whole_policy(acme, alice, (True, True, "all", None))
    found = {}
    for state in STATES:
        for kind in ("organization", "public"):
            record(alice, acme, task_id=f"{kind}-{state.replace(' ', '-')}")
            task_id = f"{kind}-{state.replace(' ', '-')}"
            found[kind, state] = path_of(ask(client, alice, acme, taskId=task_id, visibility=kind))
    now = timezone.now()
    Share.unscoped.filter(task__task_id__endswith="-revoked").update(revoked_at=now)
    Share.unscoped.filter(task__task_id__endswith="-old").update(
        created_at=now - timedelta(days=10)
    )
    return found


@pytest.fixture
def opens(alice, bob, rhea, mallory, acme):
    """Whether a reader gets a file of a link: by the view of the route, without the middleware, whose
    session would cost more than the decision."""
    people = {
        "stranger": AnonymousUser(), "owner": alice, "member": bob, "readonly": rhea, "outsider": mallory,
    }  # fmt: skip

    def opens(path, reader) -> bool:
        request = RequestFactory().head(f"{path}.md")
        request.user = people[reader]
        view, _, kwargs = resolve(request.path)
        answer = view(request, **kwargs)
        assert answer.status_code in (200, 404)
        return answer.status_code == 200

    return opens


def test_the_policy_of_now_decides_for_links_of_then(shares, opens, alice, acme):
    """J2: 540 cells of 72 policies, 2 kinds of links, 3 ages and 5 readers, each one request. The
    policies follow each other, so that links are opened before and after changes either way."""
    policies = list(product(ENABLED, PUBLIC, VISIBILITY, DAYS))
    cells = [(policy, *cell) for policy in policies for cell in product(shares, READERS)]
    # Not all 2,160; 30 are of one policy, so those that are drawn are others from one to the next.
    tested = [
        cell for n, cell in enumerate(cells) if (n % 7 in (0, 3, 5) if cell[0][0] else n % 14 == 0)
    ]
    assert len(tested) >= 540
    wrong = []
    for policy in dict.fromkeys(cell[0] for cell in tested):
        set_whole_policy(acme, alice, policy)
        for _, (kind, state), reader in (cell for cell in tested if cell[0] == policy):
            if opens(shares[kind, state], reader) is not expected(policy, kind, state, reader):
                wrong.append((policy, kind, state, reader))
    assert wrong == []
    opened = sum(expected(policy, *link, reader) for policy, link, reader in tested)
    assert opened > len(tested) // 6


class TestTheDecision:
    @pytest.fixture
    def public(self, client, alice, acme):
        record(alice, acme)
        return path_of(ask(client, alice, acme, visibility="public"))

    def test_is_one_for_every_form(self, client, public, alice, acme):
        """J2: page, changes, files; and no answer is one that a reader could keep using: none has
        an ETag, and a conditional request is decided like any other."""
        forms = ("", "/changes", ".md", ".json", ".patch", "?page=2")
        old = {"If-None-Match": "*", "If-Modified-Since": "Sun, 01 Jan 2090 00:00:00 GMT"}
        for form in forms:
            answer = client.get(public + form, headers=old)
            assert (answer.status_code, answer.has_header("ETag")) == (200, False), form
        set_policy(acme, alice, allowPublicTaskSharing=False)
        assert {client.get(public + form, headers=old).status_code for form in forms} == {404}

    def test_a_stricter_policy_ends_links_sooner_and_a_looser_one_no_later(
        self, client, public, alice, acme
    ):
        """J2: the time that a link was told is the most that it gets."""
        with time_machine.travel(timezone.now() + timedelta(days=8)) as clock:
            assert client.get(public).status_code == 200
            set_policy(acme, alice, taskShareExpirationDays=7)
            assert client.get(public).status_code == 404
            set_policy(acme, alice, taskShareExpirationDays=90)
            assert client.get(public).status_code == 200
            clock.shift(timedelta(days=23))
            assert client.get(public).status_code == 404

    def test_a_link_that_a_stricter_policy_ended_is_followed_by_another(
        self, client, public, alice, acme
    ):
        with time_machine.travel(timezone.now() + timedelta(days=8)):
            set_policy(acme, alice, taskShareExpirationDays=7)
            answer = ask(client, alice, acme, visibility="public")
            assert answer.json()["isNewShare"] is True
            assert path_of(answer) != public
            assert client.get(path_of(answer)).status_code == 200

    def test_the_makers_standing_counts_again_when_they_come_back(
        self, client, public, alice, bob, acme
    ):
        """A4"""
        by = factories.actor(alice, acme)
        put_member(organization=acme, user=bob, role="owner", by=by, at=timezone.now())
        remove_member(organization=acme, user_id=alice.pk, by=by, at=timezone.now())
        assert client.get(public).status_code == 404
        put_member(organization=acme, user=alice, role="member", by=None, at=timezone.now())
        assert client.get(public).status_code == 200


class TestTokens:
    def test_a_million_guesses_find_nothing(self, client, alice, acme):
        """J3: tokens are 256 random bits, and stored as hashes alone. Guesses are new tokens, and
        the real one with a character more, less or another."""
        record(alice, acme)
        real = path_of(ask(client, alice, acme, visibility="public")).rpartition("/")[2]
        prefix, _, secret = real.partition("_")
        assert len(secret) * 6 >= 256
        stored = {bytes.fromhex(h) for h in Share.unscoped.values_list("token_hash", flat=True)}
        letters = "abcXYZ019-_"
        near = {
            f"{prefix}_{secret[:i]}{x}{secret[i + 1 :]}"
            for i in range(len(secret))
            for x in letters
        }
        near |= {
            real[:-1],
            real + "a",
            real.upper(),
            real.lower(),
            secret,
            digest(real),
        }
        near -= {real}
        assert {bytes.fromhex(digest(real))} == stored
        assert stored.isdisjoint(sha256(guess.encode()).digest() for guess in near)
        randoms = b64encode(token_bytes(3_000_000)).replace(b"+", b"-").replace(b"/", b"_")
        guesses = (b"s_" + randoms[i : i + 43] for i in range(1_000_000))
        assert stored.isdisjoint(sha256(guess).digest() for guess in guesses)
        alike = [guess for guess in sorted(near) if len(guess) == len(real)][:20]
        assert len({self.seen(client, guess) for guess in [*alike, new_secret("s")]}) == 1

    def seen(self, client, token):
        """All of the answer but what is another in each: the address, the nonce, the form's token."""
        answer = client.get(f"/share/{token}")
        headers = {**answer.headers, "X-Request-ID": "", "Content-Security-Policy": ""}
        body = answer.content.replace(quote(token).encode(), b"TOKEN")
        body = re.sub(rb'(nonce|name="csrfmiddlewaretoken" value)="[^"]+"', b"", body)
        return answer.status_code, body, str(sorted(headers.items()))

    @pytest.mark.parametrize("who", ["stranger", "outsider"])
    def test_all_that_is_closed_looks_the_same(self, client, alice, mallory, acme, who):
        """J3: unknown, revoked, expired, off by policy and for others: byte by byte, headers too."""
        tokens = [new_secret("s")]
        for state in ("revoked", "expired", "internal"):
            record(alice, acme, task_id=state)
            kind = "organization" if state == "internal" else "public"
            answer = ask(client, alice, acme, taskId=state, visibility=kind)
            tokens.append(path_of(answer).rpartition("/")[2])
        now = timezone.now()
        Share.unscoped.filter(task__task_id="revoked").update(revoked_at=now)
        Share.unscoped.filter(task__task_id="expired").update(expires_at=now)
        record(mallory, task_id="closed")
        answer = ask(client, mallory, taskId="closed", visibility="public")
        tokens.append(path_of(answer).rpartition("/")[2])
        mallory.is_active = False
        mallory.save()
        if who == "outsider":
            client.force_login(factories.user("nobody@else.example"))
        assert len({self.seen(client, token) for token in tokens}) == 1


class TestHeaders:
    """J4: on all statuses, whoever answers."""

    def assert_private(self, answer, *, referrer="no-referrer") -> None:
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow, noarchive"
        assert answer.headers["Referrer-Policy"] == referrer
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"

    @pytest.mark.parametrize(
        ("status", "method", "path"),
        [
            (200, "get", ""), (200, "head", ".md"), (200, "get", ".json"), (200, "get", "/changes"), (200, "get", "/preview.png"),
            (404, "get", "x"), (404, "get", "%00"), (404, "get", "/image/1/0"), (405, "post", ""),
            (405, "delete", "/changes"), (404, "get", "/no/such/route"),
        ],
    )  # fmt: skip
    def test_of_what_the_share_answers(self, client, alice, acme, status, method, path):
        record(alice, acme)
        share = path_of(ask(client, alice, acme, visibility="public"))
        answer = getattr(client, method)(share + path)
        assert answer.status_code == status
        self.assert_private(answer)

    def test_of_failures(self, client, alice, acme, monkeypatch):
        record(alice, acme)
        share = path_of(ask(client, alice, acme, visibility="public"))
        client.raise_request_exception = False
        for fault, status in ((RuntimeError(), 500), (DatabaseError(), 500)):
            monkeypatch.setattr(queries, "find_share", lambda token, fault=fault: _raise(fault))
            answer = client.get(share)
            assert answer.status_code == status
            self.assert_private(answer)

    def test_of_a_form_that_is_out_of_date(self, alice, acme):
        strict = Client(enforce_csrf_checks=True)
        answer = strict.post("/share/s_1")
        assert answer.status_code in (403, 405)
        self.assert_private(answer)

    def test_of_the_owners_pages(self, client, alice, acme):
        record(alice, acme)
        ask(client, alice, acme)
        page = f"/shares/{Share.unscoped.get().pk}"
        self.assert_private(client.get(page), referrer="same-origin")  # to the sign-in page
        client.force_login(alice)
        for path in (page, f"{page}/regenerate", f"{page}/revoke", f"/task/{TASK}/public"):
            self.assert_private(client.get(path), referrer="same-origin")

    def test_of_what_is_refused_before_django(self):
        assert confidential_headers("/share/s_1")["Cache-Control"] == "no-store"
        assert confidential_headers("/shared") == confidential_headers("/tasks") == {}


def _raise(fault):
    raise fault


class TestTheOwner:
    """What the owner of a task does about its links, in the browser."""

    @pytest.fixture
    def mine(self, client, alice, acme):
        record(alice, acme)
        client.force_login(alice)
        return client

    def make(self, client, hours=""):
        answer = client.post(f"/task/{TASK}/share", {"hours": hours})
        share = Share.unscoped.get(revoked_at=None)
        assert answer.headers["Location"] == f"/shares/{share.pk}"
        return share

    def test_makes_a_link_for_the_organization(self, mine, bob):
        assert b"not shared" in mine.get(f"/task/{TASK}").content
        share = self.make(mine)
        page = mine.get(f"/shares/{share.pk}").content.decode()
        url = actions.url_of(share)
        assert url in page
        assert "Members of Acme who are signed in may read the task now" in " ".join(page.split())
        assert url in mine.get(f"/task/{TASK}").content.decode()
        mine.force_login(bob)
        assert mine.get(url[url.index("/share/") :]).status_code == 200

    def test_chooses_when_it_ends_within_the_policy(self, mine, alice, acme):
        with time_machine.travel(timezone.now(), tick=False):
            now = timezone.now()
            share = self.make(mine, hours="24")
            assert share.expires_at == now + timedelta(days=1)
            mine.post(f"/shares/{share.pk}/lifetime", {"hours": "168"})
            share.refresh_from_db()
            assert share.expires_at == now + timedelta(days=7)
            mine.post(f"/shares/{share.pk}/lifetime", {"hours": ""})
            share.refresh_from_db()
            assert share.expires_at == now + timedelta(days=30)
            for beyond in ("720", "8760", "1e9", "-1", "x"):
                mine.post(f"/shares/{share.pk}/lifetime", {"hours": beyond})
                share.refresh_from_db()
                assert share.expires_at == now + timedelta(days=30), beyond

    def test_is_offered_any_time_where_the_policy_names_none(self, mine, alice, acme):
        set_whole_policy(acme, alice, (True, True, "all", None))
        share = self.make(mine)
        assert share.expires_at is None
        page = mine.get(f"/shares/{share.pk}").content.decode()
        assert "In a year" in page
        assert "Never" in page

    def test_shares_again_from_the_editor_for_as_long_as_they_chose(
        self, client, mine, alice, acme
    ):
        share = self.make(mine, hours="24")
        with time_machine.travel(share.created_at + timedelta(hours=20), tick=False):
            assert ask(client, alice, acme).json()["isNewShare"] is False
            share.refresh_from_db()
            assert share.expires_at == timezone.now() + timedelta(days=1)

    def test_exchanges_it_and_the_old_one_dies(self, mine, alice, acme):
        share = self.make(mine, hours="24")
        old = actions.url_of(share)
        assert b"The old link shows nothing" in mine.get(f"/shares/{share.pk}/regenerate").content
        assert mine.get(old[old.index("/share/") :]).status_code == 200
        page = mine.post(f"/shares/{share.pk}/regenerate", follow=True)
        new = Share.unscoped.get(revoked_at=None)
        assert actions.url_of(new) in page.content.decode()
        assert (new.visibility, new.lifetime) == ("organization", timedelta(days=1))
        assert mine.get(old[old.index("/share/") :]).status_code == 404
        assert actions.url_of(new) != old
        again = mine.post(f"/shares/{share.pk}/regenerate", follow=True)
        assert b"does not work any more" in again.content
        assert Share.unscoped.filter(revoked_at=None).count() == 1
        told = Entry.objects.filter(target_kind="share").values_list("action", flat=True)
        assert sorted(told) == ["share.created", "share.created", "share.revoked"]

    def test_finds_it_among_many_dead_ones(self, mine):
        share = self.make(mine)
        for _ in range(25):
            Share.unscoped.create(
                task=share.task, visibility="public", token_hash=new_secret("x"), sealed_token="",
                made_by_id="", created_at=timezone.now(), revoked_at=timezone.now(),
            )  # fmt: skip
        page = mine.get(f"/task/{TASK}").content.decode()
        assert actions.url_of(share) in page
        assert "Earlier links: 19" in page

    def test_cannot_revive_a_dead_one(self, mine):
        share = self.make(mine)
        mine.post(f"/shares/{share.pk}/revoke")
        page = mine.post(f"/shares/{share.pk}/lifetime", {"hours": ""}, follow=True)
        assert b"does not work any more" in page.content
        assert b"Revoked on" in page.content
        assert actions.url_of(share) not in page.content.decode()
        assert b"Earlier links: 1" in mine.get(f"/task/{TASK}").content

    def test_sees_since_when_the_policy_hides_it(self, mine, alice, acme):
        share = self.make(mine)
        with time_machine.travel("2030-05-03T14:00:00Z", tick=False):
            set_policy(acme, alice, enableTaskSharing=False, taskShareExpirationDays=3000)
        with time_machine.travel("2030-05-04T14:00:00Z", tick=False):
            set_policy(acme, alice, enableTaskSharing=False, taskShareExpirationDays=3001)
        Share.unscoped.update(expires_at=None)
        with time_machine.travel("2030-05-05T14:00:00Z", tick=False):
            for path in (f"/shares/{share.pk}", f"/task/{TASK}"):
                mine.force_login(alice)
                assert "since 3 May 2030, 14:00 UTC" in " ".join(
                    mine.get(path).content.decode().split()
                ), path
            page = mine.post(f"/shares/{share.pk}/regenerate", follow=True)
            assert b"sharing is not enabled" in page.content
            assert Share.unscoped.get().revoked_at is None
            Share.unscoped.update(revoked_at=timezone.now())
            assert (
                b"sharing is not enabled" in mine.post(f"/task/{TASK}/share", follow=True).content
            )

    def test_is_nobody_else(self, mine, bob, adam):
        share = self.make(mine)
        for person in (bob, adam):
            mine.force_login(person)
            for path in ("", "/lifetime", "/regenerate", "/revoke"):
                ask_for = mine.post if path == "/lifetime" else mine.get
                assert ask_for(f"/shares/{share.pk}{path}").status_code == 404
                if path:
                    assert mine.post(f"/shares/{share.pk}{path}").status_code == 404
            assert mine.post(f"/task/{TASK}/share").status_code == 404
        assert Share.unscoped.get().revoked_at is None


class TestWhoLooked:
    """The access log of a link: who, when, and from which network."""

    @pytest.fixture
    def public(self, client, alice, acme):
        record(alice, acme)
        return path_of(ask(client, alice, acme, visibility="public"))

    def log(self, client, alice):
        client.force_login(alice)
        return client.get(f"/shares/{Share.unscoped.get(revoked_at=None).pk}").content.decode()

    def test_tells_members_by_name_and_others_by_network(
        self, client, public, alice, bob, mallory, acme
    ):
        client.get(public, REMOTE_ADDR="203.0.113.77")
        client.get(public, REMOTE_ADDR="2001:db8:1:2::9")
        for person in (bob, mallory):
            client.force_login(person)
            client.get(f"{public}.md", REMOTE_ADDR="198.51.100.1")
        page = self.log(client, alice)
        assert all(n in page for n in ("203.0.113.0/24", "2001:db8:1::/48", "198.51.100.0/24"))
        assert "203.0.113.77" not in page
        assert "2001:db8:1:2::9" not in page
        assert bob.name in page
        assert mallory.name not in page
        assert "Downloaded as Markdown" in page
        assert not any(
            "77" in value for value in ShareView.unscoped.values_list("network", flat=True)
        )
        assert ShareView.unscoped.filter(viewer_id=mallory.pk).count() == 0

    def test_counts_a_reader_once_an_hour(self, client, public, alice):
        with time_machine.travel("2030-01-01T10:00:00Z") as clock:
            Share.unscoped.update(expires_at=None, created_at=timezone.now())
            for _ in range(3):
                client.get(public)
                client.get(f"{public}/changes")
            clock.shift(timedelta(hours=1))
            client.get(public)
            client.get(public, REMOTE_ADDR="203.0.113.7")
            client.get(f"{public}.patch")
            assert Share.unscoped.with_views().get().view_count == 3
            page = self.log(client, alice)
        assert page.count("<time ") == 4
        assert "3 views" in client.get(f"/task/{TASK}").content.decode()

    def test_leaves_out_the_owner_and_who_saw_nothing(self, client, public, alice):
        client.head(public)
        client.post(public)
        client.get(f"{public}x")
        Share.unscoped.update(revoked_at=timezone.now())
        client.get(public)
        Share.unscoped.update(revoked_at=None)
        client.force_login(alice)
        page = client.get(public)
        assert b"Your own link: 0 views" in page.content
        assert not ShareView.unscoped.exists()
        assert "Nobody has opened it yet" in self.log(client, alice)

    def test_is_written_after_the_answer_in_one_statement(self, client, public, alice):
        """The reader's queries are the same as before there was a log, and then one insert."""
        client.get(public)
        with CaptureQueriesContext(connection) as asked:
            client.get(public, REMOTE_ADDR="203.0.113.7")
        writes = [q["sql"] for q in asked if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
        assert len(writes) == 1
        assert "share" in asked.captured_queries[-1]["sql"]
        assert asked.captured_queries[-1]["sql"].startswith("INSERT")

    def test_fails_no_page(self, client, public, monkeypatch, caplog):
        monkeypatch.setattr(actions, "note_view", lambda **_: _raise(DatabaseError("disk full")))
        answer = client.get(public)
        assert answer.status_code == 200
        assert b"The prompt" in answer.content
        assert "A view was not noted" in caplog.text

    def test_is_pruned_and_the_count_stays(self, client, public, alice):
        at = timezone.now()
        share = Share.unscoped.get()
        for days, form in ((100, "page"), (91, "page"), (95, "md"), (89, "page"), (1, "page")):
            actions.note_view(
                share_id=share.pk, viewer_id="", network="", form=form, at=at - timedelta(days=days)
            )
        for _ in range(2):
            actions.forget_views(at=at)
            assert ShareView.unscoped.count() == 2
            assert Share.unscoped.with_views().get().view_count == 4
        assert "tasks_sharing.tasks.forget_share_views" in {
            job["task"] for job in settings.CELERY_BEAT_SCHEDULE.values()
        }

    def test_is_paginated_at_the_same_number_of_queries(self, client, public, alice):
        share, at = Share.unscoped.get(), timezone.now()

        def look(n, start=0):
            for i in range(start, n):
                actions.note_view(
                    share_id=share.pk, viewer_id=alice.pk, network=f"10.{i // 250}.{i % 250}.0/24",
                    form="page", at=at,
                )  # fmt: skip

        client.force_login(alice)
        look(3)
        client.get(f"/shares/{share.pk}")
        with CaptureQueriesContext(connection) as few:
            client.get(f"/shares/{share.pk}")
        look(120, start=3)
        with CaptureQueriesContext(connection) as many:
            page = client.get(f"/shares/{share.pk}")
        assert len(few) == len(many) <= 15
        assert page.content.count(b"<time ") == 50
        assert client.get(f"/shares/{share.pk}?page=3").content.count(b"<time ") == 20


def test_a_link_goes_with_its_task_and_so_does_its_log(client, alice, acme):
    record(alice, acme)
    client.get(path_of(ask(client, alice, acme, visibility="public")))
    Task.unscoped.get().delete()
    assert not ShareView.unscoped.exists()
