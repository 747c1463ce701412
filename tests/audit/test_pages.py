"""The pages of the trail: AU2, screen 5.8."""

import ast
import csv
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from audit import actions as audit
from audit import chain, listing, verifying
from audit.groups import GROUPS, group_of
from audit.models import Entry
from tests import factories

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ["accounts", "orgs", "credits", "proxy", "tasks_sharing", "telemetry", "bridge", "audit",
         "notifications", "roocloud"]  # fmt: skip
CANARY = "canary-7f3a"


@pytest.fixture
def root(db):
    return factories.user("root@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def trail(alice, bob, acme, evil):
    """What was done in acme, and one thing elsewhere, marked."""
    at = timezone.now()
    for number, (person, action, before, after) in enumerate(
        [
            (alice, "membership.changed", {"role": "member"}, {"role": "admin"}),
            (bob, "share.created", None, {"visibility": "public", "days": 30}),
            (None, "api_key.revoked", None, None),
        ]
    ):
        audit.record(
            action=action,
            actor=factories.actor(person, acme) if person else None,
            target_kind=action.partition(".")[0],
            target_id=f"thing_{number}",
            organization_id=acme.pk,
            before=before,
            after=after,
            note="by the policy" if number == 2 else "",
            at=at - timedelta(days=number),
        )
    audit.record(
        action="share.created", actor=None, target_kind="share", target_id=CANARY,
        organization_id=evil.pk, note=CANARY, at=at,
    )  # fmt: skip
    return f"/organizations/{acme.pk}/audit"


def shown(page) -> list[str]:
    """The objects that a page lists, from the top; those of the fixtures' own left out."""
    found = re.findall(r'trail__target">\w+<small>([^<]+)</small>', page.content.decode())
    return [name for name in found if name.startswith(("thing_", CANARY))]


@pytest.mark.parametrize(
    ("query", "objects"),
    [
        ("", ["thing_0", "thing_1", "thing_2"]),
        ("q=share", ["thing_1"]),
        ("q=thing_2", ["thing_2"]),
        ("q=by+the+POLICY", ["thing_2"]),
        ("q=%25", []),
        ("who=server", ["thing_2"]),
        ("who=BOB", ["thing_1"]),
        ("what=members", ["thing_0"]),
        ("what=keys&who=BOB", []),
        ("object=thing_0", ["thing_0"]),
        ("first=TODAY", ["thing_0"]),
        ("last=YESTERDAY", ["thing_1", "thing_2"]),
        ("first=YESTERDAY&last=YESTERDAY", ["thing_1"]),
    ],
)
def test_the_trail_is_filtered(client, trail, alice, bob, query, objects):
    client.force_login(alice)
    today = timezone.now().date()
    for name, value in (
        ("TODAY", today), ("YESTERDAY", today - timedelta(days=1)), ("BOB", bob.pk)
    ):  # fmt: skip
        query = query.replace(name, str(value))

    assert shown(client.get(f"{trail}?{query}")) == objects


def test_wrong_filters_are_named_beside_the_field_and_kept(client, trail, alice):
    client.force_login(alice)
    for query, said in (
        ("first=yesterday", "Enter a valid date."),
        ("first=2026-02-02&last=2026-02-01", "before the day on which it begins"),
        ("who=user_nobody", "Select a valid choice"),
        ("what=everything", "Select a valid choice"),
        ("q=%00", "Null characters are not allowed."),
        (f"q={'x' * 200}", "at most 128 characters"),
    ):
        page = client.get(f"{trail}?{query}")
        assert page.status_code == 200
        assert said in page.content.decode(), query
        assert 'data-state="error"' in page.content.decode()
        assert client.get(f"{trail}.csv?{query}").status_code == 400
    assert "yesterday" in client.get(f"{trail}?first=yesterday").content.decode()


def test_an_entry_opens_with_what_was_before_and_after(client, trail, alice):
    client.force_login(alice)
    page = client.get(f"{trail}?object=thing_0").content.decode()

    assert "role: member → admin" in page
    assert re.search(r"<td>member</td>\s*<td>admin</td>", page)
    assert "by you" in page
    assert "in a few seconds" in page


def test_the_foot_says_whether_the_chain_is_intact(client, trail, alice):
    """N9"""
    client.force_login(alice)
    assert "the first look is still to come" in client.get(trail).content.decode()
    chain.link(at=timezone.now())
    verifying.check(at=timezone.now())

    assert "Intact: verified on" in client.get(trail).content.decode()


def test_a_page_leads_on_to_older_entries(client, trail, acme, alice):
    at = timezone.now() - timedelta(days=9)
    audit.record_all(
        audit.Trace(
            action="share.created", actor=None, target_kind="share", target_id=f"thing_{number}",
            organization_id=acme.pk, at=at,
        )
        for number in range(100, 210)
    )  # fmt: skip
    client.force_login(alice)
    seen, path = [], trail
    while path:
        page = client.get(path)
        seen += shown(page)
        older = re.search(r'href="(\?before=[^"]+)"', page.content.decode())
        path = older and trail + older[1].replace("&amp;", "&")

    assert len(seen) == len(set(seen)) == 113
    for before in ("x", "2026-01-01~%00", "9999-12-31T23:59:59-23:59~x"):
        assert client.get(f"{trail}?before={before}").status_code == 200


def test_a_page_asks_as_much_for_many_as_for_few(
    client, trail, acme, alice, django_assert_num_queries, django_assert_max_num_queries
):
    client.force_login(alice)
    client.get(trail)
    with django_assert_max_num_queries(18) as few:
        client.get(trail)
    audit.record_all(
        audit.Trace(
            action="share.created", actor=factories.actor(factories.user(f"u{n}@x.example")),
            target_kind="share", target_id=f"n{n}", organization_id=acme.pk, at=timezone.now(),
        )
        for n in range(40)
    )  # fmt: skip
    with django_assert_num_queries(len(few)):
        client.get(trail)


@pytest.mark.django_db(transaction=True)
def test_an_export_has_what_the_page_says_and_is_itself_on_the_trail(live_url, trail, alice, acme):
    """L4: exports are audited."""
    import http.client
    from urllib.parse import urlsplit

    from django.test import Client

    chain.link(at=timezone.now())
    browser = Client()
    browser.force_login(alice)

    def get(path: str) -> str:
        connection = http.client.HTTPConnection(urlsplit(live_url).netloc)
        cookie = f"roocloud_session={browser.cookies['roocloud_session'].value}"
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].startswith("attachment")
        return answer.read().decode()

    assert f"<small>{Entry.objects.filter(organization_id=acme.pk).count()} rows</small>" in (
        browser.get(trail).content.decode()
    )
    lines = [json.loads(line) for line in get(f"{trail}.jsonl?who=server").splitlines()]
    assert [line["target_id"] for line in lines] == ["thing_2"]
    assert lines[0]["sequence"] >= 1
    rows = list(csv.DictReader(get(f"{trail}.csv").splitlines()))
    assert CANARY not in str(rows)
    assert json.loads(rows[-2]["after"]) == {"days": 30, "visibility": "public"}
    noted = Entry.objects.filter(action="audit.exported").order_by("at")
    assert [entry.after for entry in noted] == [{"who": "server"}, {}]
    assert {entry.organization_id for entry in noted} == {acme.pk}


def test_owners_and_admins_see_their_organization_and_nobody_else_does(
    client, trail, root, alice, adam, bob, rhea, mallory
):
    """A1, A2: also the site's administrators see it on their own page alone."""
    for person, status in (
        (alice, 200), (adam, 200), (bob, 403), (rhea, 403), (mallory, 404), (root, 404)
    ):  # fmt: skip
        client.force_login(person)
        for path in (trail, f"{trail}.csv", f"{trail}.jsonl"):
            answer = client.get(path)
            assert answer.status_code == status, (person.email, path)
        assert CANARY not in client.get(trail).content.decode()


def test_the_whole_trail_is_for_the_sites_administrators(client, trail, root, alice):
    """A2"""
    for path in ("/audit", "/audit.csv", "/audit.jsonl"):
        client.logout()
        assert client.get(path).status_code == 302
        client.force_login(alice)
        assert client.get(path).status_code == 404
    client.force_login(root)
    assert CANARY in shown(client.get("/audit"))
    assert shown(client.get("/audit?who=server")) == [CANARY, "thing_2"]
    assert client.get("/audit.xml").status_code == 404
    assert client.post("/audit").status_code == 405


def test_a_cell_that_begins_like_a_formula_is_disarmed(db):
    audit.record(
        action="a.b", actor=None, target_kind="t", target_id="=1+1", note="@x", at=timezone.now()
    )
    text, _ = listing.export(listing.Filters(), listing.FORMS["csv"], before="")
    assert "'=1+1" in text
    assert "'@x" in text


def recorded_actions() -> dict[str, str]:
    """Every action that the source names, and where."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = (
                    node.func.attr
                    if isinstance(node.func, ast.Attribute)
                    else getattr(node.func, "id", "")
                )
                if name not in ("record", "Trace") and not name.startswith("_audit"):
                    continue
                for part in [
                    *node.args,
                    *(k.value for k in node.keywords if k.arg in ("action", None)),
                ]:
                    texts = [n.value for n in ast.walk(part) if isinstance(n, ast.Constant)]
                    for text in texts:
                        if isinstance(text, str) and re.fullmatch(r"[a-z_]+\.[a-z_]*", text):
                            found[text] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_every_action_is_in_a_group_that_people_can_ask_for():
    """AU2. A new noun is added to audit/groups.py."""
    found = recorded_actions()
    assert len(found) > 40
    assert {action: where for action, where in found.items() if not group_of(action)} == {}


def test_no_noun_is_in_two_groups():
    nouns = [noun for _, found in GROUPS.values() for noun in found]
    assert len(nouns) == len(set(nouns))
