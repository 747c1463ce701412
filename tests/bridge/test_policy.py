"""Whether an organization lets its members control their editors."""

import pytest
from django.utils import timezone

from audit.models import Entry
from orgs import actions
from orgs.policy import RemotePolicy
from roocloud.lib.refusals import Forbidden
from tests import factories
from tests.bridge.conftest import instance, token_of
from tests.bridge.test_editors import CONFIG


def switch(person, organization, *, is_on):
    by = factories.actor(person, organization)
    policy = RemotePolicy(is_on, admins_watch=False)
    actions.set_remote_policy(organization=organization, policy=policy, by=by, at=timezone.now())


def test_switching_it_off_cuts_its_editors_and_on_again_brings_them_back(world, alice, acme):
    """B4, and trap 37: they come back by themselves, so no connect error and no disconnect."""
    editor = world.editor(token_of(alice, acme))
    editor.wait("connect")
    personal = world.editor(token_of(alice))
    personal.wait("connect")

    switch(alice, acme, is_on=False)

    assert editor.wait("disconnect")[0] == "transport close"
    assert "websocket error" in editor.wait("connect_error")[0]
    assert editor.count("auth_error") == 0
    switch(alice, acme, is_on=True)
    editor.wait("connect")
    personal.emit("extension:register", instance(), None)
    personal.wait("extension:connected")
    assert personal.count("disconnect") == 0


def test_editors_are_told_before_they_connect(client, alice, acme):
    """Trap 11: the flag that they look for."""
    switch(alice, acme, is_on=False)
    _, token = factories.client_session(alice)

    told = client.get(
        f"/v1/organizations/{acme.pk}", headers={"Authorization": f"Bearer {token}"}
    ).json()
    refused = client.get(CONFIG, headers=factories.bearer(alice, acme))

    assert told["response"]["public_metadata"] == {"extension_bridge_enabled": False}
    assert refused.status_code == 403
    assert "switched remote control off" in refused.json()["error"]
    assert client.get(CONFIG, headers=factories.bearer(alice)).status_code == 200


@pytest.mark.parametrize("who", ["bob", "rhea", "mallory"])
def test_only_owners_and_admins_switch_it(client, request, acme, evil, who):
    """A1, A2"""
    person = request.getfixturevalue(who)
    client.force_login(person)
    page = f"/organizations/{acme.pk}/remote-control"

    assert client.get(page).status_code in (403, 404)
    assert client.post(page, {}).status_code in (403, 404)
    if who != "mallory":
        with pytest.raises(Forbidden):
            switch(person, acme, is_on=False)
    acme.refresh_from_db()
    assert acme.remote_control is True


def test_its_page_switches_it_after_a_fresh_sign_in(client, alice, acme):
    """O1: and leaves a trace, once."""
    page = f"/organizations/{acme.pk}/remote-control"
    client.force_login(alice)
    asked = client.post(page, {})
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD, "next": page})

    for _ in range(2):
        assert client.post(page, {}).url == page

    acme.refresh_from_db()
    assert acme.remote_control is False
    assert b"Off" in client.get(page).content
    assert Entry.objects.filter(action="remote_control.switched").count() == 1
