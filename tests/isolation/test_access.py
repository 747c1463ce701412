"""A1, A2: who may use which route, walked over the whole URLconf."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.urls import path
from django.utils import timezone

from accounts.actors import TokenKind
from accounts.models import ApiKey
from bridge.models import Command, Instance
from credits import actions as credit
from credits import top_ups
from credits.budgets import put_budget
from orgs import actions as orgs
from orgs import items
from proxy.models import Completion
from roocloud.asgi import asgi_urlpatterns
from roocloud.errors import Surface, body, surface_of
from roocloud.lib.fresh import forget_everything
from tasks_sharing import actions as tasks
from tasks_sharing import guard
from tasks_sharing.models import Import, Share
from tests import factories
from tests.bridge import paired
from tests.bridge.conftest import instance
from tests.routes import COMPLETES, LIBRARY_ROUTES, Route, walk

CANARY = "canary-7f3a"
MODE = "{slug: m, name: m, roleDefinition: m, groups: [read]}"
#: Built as a picture, whose data is the canary.
GIF = b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2%c%s\0;" % (len(CANARY), CANARY.encode())
IMAGE = f"data:image/gif;base64,{b64encode(GIF).decode()}"
ROUTES = [route for route in walk() if route.is_ours]
OBJECT_IDS = {
    "task_id", "share_id", "token", "mask_id", "session_id", "organization_id", "user_id",
    "invitation_id", "domain_id", "key_id", "budget_id", "completion_id", "import_id", "instance_id",
    "top_up_id", "device_id", "device_pk", "command_id", "draft_id", "item_id",
    "subscription_id",
}  # fmt: skip
PROTECTED = [r for r in ROUTES if r.view is not None and r.access and r.access.who != "public"]
OF_OBJECTS = [route for route in ROUTES if OBJECT_IDS & set(route.parameters)]
METHODS = ["get", "post", "patch", "put", "delete", "head", "options"]


def undeclared(routes) -> list[str]:
    return [route.path for route in routes if route.is_ours and route.access is None]


def test_every_route_declares_its_rule():
    """A2"""
    assert undeclared(walk()) == []


def test_a_route_without_a_rule_is_noticed():
    """A2: the walk itself works."""
    dummy = path("dummy", lambda request: HttpResponse())

    assert undeclared(walk([dummy])) == ["dummy"]


def test_the_exceptions_are_few_and_have_reasons():
    """A2"""
    assert len(LIBRARY_ROUTES) <= 12
    assert all(reason for _, reason in LIBRARY_ROUTES.values())
    public = [route for route in ROUTES if route.access and route.access.who == "public"]
    assert all(route.access.reason for route in public)
    assert len({route.view for route in public}) <= 12


def test_every_plain_asgi_route_is_walked():
    """A2"""
    walked = {route.path for route in walk()}

    assert {str(pattern.pattern) for pattern in asgi_urlpatterns} <= walked


@pytest.fixture
def world(alice, bob, mallory, acme, evil):
    """alice's things in acme, each marked with the canary; ids by route parameter."""
    at = timezone.now()
    actor = factories.actor(alice, acme)
    message = {"ts": 1, "type": "say", "say": "text", "text": f"{CANARY} prompt", "images": [IMAGE]}
    event = tasks.Event("Task Message", {"taskId": "task-1", "message": message})
    for told in (tasks.Event("Task Created", {"taskId": "task-1"}), event):
        tasks.record_event(actor=actor, event=told, at=at)
    shared = tasks.share_task(actor=actor, task_id="task-1", visibility="organization", at=at)
    session, _ = factories.client_session(alice, label=CANARY)
    key = factories.api_key(alice, acme, name=CANARY).key
    from orgs.actions import invite

    invitation, _ = invite(
        organization=acme, email=f"{CANARY}@x.example", role="member", by=actor, at=at
    )
    from orgs.models import Domain

    domain = Domain.unscoped.create(
        organization=acme, name=f"{CANARY}.example", token="t", created_at=at
    )
    from tasks_sharing.models import Message

    acme.name = CANARY
    acme.save()
    account = credit.account_of(user_id=alice.pk, organization_id=acme.pk, at=at)
    budget = put_budget(
        by=actor,
        account=account,
        scope="model",
        subject=CANARY,
        period="month",
        limit_nanos=1,
        at=at,
    )
    asked = top_ups.ask(by=actor, amount_nanos=1, reason=CANARY, key="k", at=at)
    completion = Completion.unscoped.create(
        user_id=alice.pk,
        organization_id=acme.pk,
        task_id=CANARY,
        model_id="v/m",
        upstream_name="east",
        is_stream=True,
        started_at=at,
        saved_at=at,
    )
    share = Share.unscoped.get()
    run = Import.unscoped.create(
        owner=alice, organization=acme, total=1, started_at=at, tried_at=at
    )
    run.tasks.create(position=0, name=CANARY, task_id="task-1", outcome="same")
    editor = Instance.unscoped.create(
        owner=alice,
        instance_id="window-1",
        task_id="task-1",
        snapshot=json.dumps(instance(workspacePath=CANARY)),
        first_seen_at=at,
        last_seen_at=at,
    )
    device = paired.paired(alice, "canary-device", name=CANARY).device
    waiting = paired.waiting(device)
    browser = factories.subscription(alice, label=CANARY)
    command = Command.unscoped.create(
        id="cmd_canary", key=CANARY, sender=alice, kind="start_task", state="failed",
        given_at=at, settled_at=at,
    )  # fmt: skip
    mask = guard.mask_text(task=share.task, text="prompt", by=actor, at=at)
    first = orgs.current_revision(acme)
    draft = orgs.propose(
        organization=acme,
        document={**first.document, "hiddenMcps": [CANARY]},
        read_version=first.version,
        by=actor,
        note="",
        at=at,
    )
    mode = {"id": "m", "name": CANARY, "description": "", "content": MODE}
    item = orgs.put_item(organization=acme, item=items.parse(mode), by=actor, at=at)
    return {
        "task_id": "task-1",
        "share_id": share.pk,
        "mask_id": mask.pk,
        "token": shared.url.rpartition("/")[2],
        "session_id": session.pk,
        "organization_id": acme.pk,
        "user_id": alice.pk,
        "invitation_id": invitation.pk,
        "domain_id": domain.pk,
        "message_id": Message.unscoped.get().pk,
        "index": 0,
        "form": "md",
        "key_id": key.pk,
        "budget_id": budget.pk,
        "top_up_id": asked.pk,
        "month": f"{at:%Y-%m}",
        "completion_id": completion.pk,
        "import_id": run.pk,
        "instance_id": editor.instance_id,
        "command_id": command.pk,
        "device_id": device.device_id,
        "device_pk": device.pk,
        "key": waiting.key,
        "subscription_id": browser.pk,
        "draft_id": draft.pk,
        "item_id": item.pk,
        "section": "tasks",
        "version": 1,
        "pk": 1,
        "slug": "supernova",
        "secret": "inv_unknown",
        "sign_in_id": "sia_1",
        "paths": "auth.me",
    }


def fill(route: Route, ids: dict[str, object]) -> str:
    def value(found: re.Match[str]) -> str:
        return str(ids[found[1].rpartition(":")[2]])

    return "/" + re.sub(r"<([^>]+)>", value, route.path)


def unknown(ids: dict[str, object]) -> dict[str, object]:
    """Ids of the same kind that nobody has."""
    keep = {
        "version", "pk", "slug", "paths", "sign_in_id", "secret", "message_id", "index", "form",
        "month", "section",
    }  # fmt: skip
    return {
        key: (value if key in keep else re.sub(r"\w$", "~", str(value)))
        for key, value in ids.items()
    }


def one_by_one(routes: list[Route]) -> Iterator[Route]:
    """Each route on the same world: what the asking changed is undone."""
    for route in routes:
        with transaction.atomic():
            yield route
            transaction.set_rollback(True)
        forget_everything()


def test_nobody_gets_in_without_a_credential(client, world):
    """A1, A2: without one, a route that needs one never answers 2xx and shows nothing."""
    for route in one_by_one(PROTECTED):
        for method in METHODS:
            answer = getattr(client, method)(fill(route, world))
            asked = (method, route.path)
            assert answer.status_code not in range(200, 300) or method == "options", asked
            assert answer.status_code < 500, asked
            assert CANARY not in answer.content.decode(), asked
            if route.access.who in ("bearer", "client_token", "device"):
                assert answer.status_code in (401, 405), asked


def credentials(person, org):
    """Every way to show who one is: a browser, and headers of each kind of token."""
    _, client_token = factories.client_session(person)
    yield "browser", {}
    yield "client token", {"Authorization": f"Bearer {client_token}"}
    for kind in ("editor", "cli", "job"):
        yield kind, factories.bearer(person, org, kind)
    secret = factories.api_key(person, org).secret
    yield "api key", {"Authorization": f"Bearer {secret}"}
    yield "x-api-key", {"X-Api-Key": secret}
    yield "device", paired.bearer(paired.paired(person, f"{person.first_name}-phone"))


def test_a_foreign_id_answers_as_an_unknown_one(client, world, mallory, evil):
    """A1: by every credential of mallory's and every method, and no byte of alice's comes out."""
    for way, headers in credentials(mallory, evil):
        for route in one_by_one(OF_OBJECTS):
            if way == "browser":
                client.force_login(mallory)
            for method in ("get", "post", "patch", "delete"):
                ask = getattr(client, method)
                foreign = ask(fill(route, world), headers=headers)
                nobodys = ask(fill(route, unknown(world)), headers=headers)
                asked = (way, method, route.path)
                assert foreign.status_code == nobodys.status_code, asked
                assert foreign.status_code not in range(200, 300), asked
                assert CANARY not in foreign.content.decode(), asked
        client.logout()


TEXT_PARAMETERS = OBJECT_IDS | {"secret", "sign_in_id", "paths"}


def body_of_nothing(path: str) -> dict:
    surface = surface_of(path)
    return (
        {}
        if surface is Surface.PAGE
        else body(surface, status=404, code="not_found", message="Not found")
    )


def test_a_nul_in_an_address_is_refused_as_its_surface_does(client, world, alice, acme):
    """F1: PostgreSQL would fail on the look-up."""
    bearer = factories.bearer(alice, acme, "job")
    # A plain ASGI route has no parameters and looks up nothing of its address.
    for route in one_by_one([route for route in ROUTES if route.view is not None]):
        client.force_login(alice)
        for headers in ({}, bearer):
            for name in TEXT_PARAMETERS & set(route.parameters):
                for method in ("get", "post"):
                    answer = getattr(client, method)(
                        fill(route, {**world, name: "x%00"}), headers=headers
                    )
                    assert answer.status_code == 404, (name, method, route.path)
                    expected = body_of_nothing(fill(route, world))
                    assert not expected or answer.json() == expected, (name, method, route.path)
            answer = client.get(fill(route, world) + "?q=%00&organization=%00", headers=headers)
            assert answer.status_code < 500, route.path


def test_a_nul_in_a_form_or_a_cookie_fails_nothing(client, world, alice):
    """F1"""
    client.force_login(alice)
    answer = client.post("/account/context", {"organization": "x\0"})
    assert 400 <= answer.status_code < 500
    client.cookies["roocloud_session"] = "a" * 32 + "\0"
    assert client.get("/tasks").status_code == 302


def test_the_owner_gets_their_own(client, world, alice):
    """A1: the positive control of the test above."""
    client.force_login(alice)
    for path_ in (
        f"/task/{world['task_id']}",
        f"/share/{world['token']}",
        f"/task/{world['task_id']}/changes",
        f"/share/{world['token']}/changes",
        f"/task/{world['task_id']}.md",
        f"/share/{world['token']}.md",
        f"/task/{world['task_id']}/image/{world['message_id']}/0",
        f"/share/{world['token']}/image/{world['message_id']}/0",
        f"/organizations/{world['organization_id']}",
        f"/organizations/{world['organization_id']}/settings",
        f"/organizations/{world['organization_id']}/general",
        f"/organizations/{world['organization_id']}/invitations",
        f"/organizations/{world['organization_id']}/delete",
        f"/organizations/{world['organization_id']}/settings/drafts/{world['draft_id']}",
        f"/organizations/{world['organization_id']}/marketplace",
        f"/organizations/{world['organization_id']}/marketplace/{world['item_id']}",
        f"/organizations/{world['organization_id']}/domains",
        f"/organizations/{world['organization_id']}/single-sign-on",
        f"/shares/{world['share_id']}",
        f"/shares/{world['share_id']}/regenerate",
        f"/organizations/{world['organization_id']}/prompts",
        f"/shares/{world['share_id']}/revoke",
        f"/task/{world['task_id']}/public",
        f"/masks/{world['mask_id']}/lift",
        f"/account/devices/{world['session_id']}/end",
        f"/account/keys/{world['key_id']}",
        f"/account/keys/{world['key_id']}/edit",
        f"/account/keys/{world['key_id']}/revoke",
        f"/organizations/{world['organization_id']}/keys",
        f"/organizations/{world['organization_id']}/keys/{world['key_id']}",
        "/billing",
        f"/billing/requests/{world['top_up_id']}",
        "/budgets",
        f"/budgets/{world['budget_id']}",
        f"/budgets/{world['budget_id']}/remove",
        f"/usage/{world['completion_id']}",
        f"/tasks/import/{world['import_id']}",
        f"/roomote/{world['instance_id']}",
        f"/api/bridge/instances/{world['instance_id']}",
        f"/api/bridge/commands/{world['command_id']}",
        "/roomote/devices",
        f"/roomote/devices/{world['device_pk']}",
        f"/roomote/devices/{world['device_pk']}/remove",
        "/account/notifications",
    ):
        answer = client.get(path_)
        assert answer.status_code == 200, path_
        says_less = any(word in path_ for word in ("revoke", "regenerate", "settings", "lift"))
        assert CANARY in answer.content.decode() or says_less


#: An API key opens the public list of models and the plain ASGI routes, which are asked elsewhere.
KINDS_THAT_OPEN = {
    "client_token": ["client token"],
    "bearer": ["editor", "cli", "job"],
    "device": ["device"],
}


@pytest.mark.parametrize(
    "kind", ["client token", "editor", "cli", "job", "api key", "x-api-key", "device"]
)
def test_each_token_opens_only_its_own_routes(client, world, alice, acme, kind):
    """B3: the matrix of token kinds and routes."""
    headers = dict(credentials(alice, acme))[kind]
    for route in ROUTES:
        if route.path in COMPLETES or route.path.startswith("trpc"):
            continue
        if route.access.who not in KINDS_THAT_OPEN:
            continue
        opens = kind in KINDS_THAT_OPEN[route.access.who]
        answer = client.get(fill(route, world), headers=headers)
        if opens:
            assert answer.status_code != 401, route.path
        else:
            assert answer.status_code in (401, 405), route.path


def test_an_api_key_is_for_the_proxy_alone(client, world, alice, acme):
    """B3: by the declarations, and at the route that checks its bearer by itself."""
    opened = {r.path for r in ROUTES if r.access and TokenKind.API_KEY in r.access.kinds}
    assert opened == set(COMPLETES)
    signed_in = client.get("/trpc/auth.me", headers=factories.bearer(alice, acme))
    for way, headers in credentials(alice, acme):
        if way in ("api key", "x-api-key"):
            answer = client.get("/trpc/auth.me", headers=headers)
            assert (answer.status_code, signed_in.status_code) == (401, 200)


def test_an_organization_of_ones_own_opens_no_foreign_key(client, world, mallory, evil):
    """A1"""
    client.force_login(mallory)
    for rest in ("", "/edit", "/switch", "/revoke"):
        for path_ in (f"/organizations/{evil.pk}/keys", "/account/keys"):
            for method in ("get", "post"):
                ask = getattr(client, method)
                foreign = ask(f"{path_}/{world['key_id']}{rest}")
                nobodys = ask(f"{path_}/key_nobody{rest}")
                assert foreign.status_code == nobodys.status_code
                assert foreign.status_code in (404, 405)
                assert CANARY not in foreign.content.decode()
    assert ApiKey.unscoped.get(pk=world["key_id"]).state(timezone.now()) == "active"


def test_a_member_sees_no_colleagues_key_and_an_admin_does(client, world, bob, adam, acme):
    """A1"""
    pages = [f"/organizations/{acme.pk}/keys", f"/organizations/{acme.pk}/keys/{world['key_id']}"]
    client.force_login(bob)
    assert [client.get(page).status_code for page in pages] == [403, 403]
    assert client.get(f"/account/keys/{world['key_id']}").status_code == 404
    client.force_login(adam)
    assert all(CANARY in client.get(page).content.decode() for page in pages)
    assert client.get(f"/account/keys/{world['key_id']}").status_code == 404
    for act in ("edit", "rotate"):
        assert client.post(f"/account/keys/{world['key_id']}/{act}").status_code == 404


def test_the_admin_is_for_staff(client, alice):
    """A2"""
    assert client.get("/admin/").status_code == 302
    client.force_login(alice)
    assert client.get("/admin/").status_code == 302
    assert client.get("/admin/login/").status_code == 403


def test_a_readonly_member_may_look_and_not_change(client, world, rhea, acme):
    client.force_login(rhea)

    assert client.get(f"/organizations/{acme.pk}").status_code == 200
    for page in ("settings/text", "settings/edit/tasks", "marketplace", "invitations"):
        assert client.post(f"/organizations/{acme.pk}/{page}").status_code == 403


def test_a_demoted_admin_loses_the_right_at_once(client, acme, alice, adam):
    """A4, B4"""
    from orgs.actions import put_member

    client.force_login(adam)
    assert client.get(f"/organizations/{acme.pk}/settings").status_code == 200

    put_member(
        organization=acme,
        user=adam,
        role="member",
        by=factories.actor(alice, acme, kind=TokenKind.WEB),
        at=timezone.now(),
    )

    assert client.get(f"/organizations/{acme.pk}/settings").status_code == 403
