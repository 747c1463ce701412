"""A3: role, owner, organization, balance and flags are never among what a person may write."""

import json

import pytest
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey, User
from credits.models import Account
from orgs.models import Membership
from tasks_sharing.models import Task
from tests import factories

EXTRA = {
    "is_staff": True, "is_superuser": True, "is_active": False, "email": "x@evil.example",
    "role": "owner", "owner": "user_x", "owner_id": "user_x", "organization_id": "org_x",
    "organizationId": "org_x", "balance_nanos": 10**18, "balance": 10**9, "cost_nanos": 0,
    "user_id": "user_x", "userId": "user_x", "id": "x", "version": 1,
}  # fmt: skip


def snapshot(person) -> dict[str, object]:
    row = User.objects.get(pk=person.pk)
    return {
        "user": (row.is_staff, row.is_superuser, row.is_active, row.email, row.pk),
        "roles": sorted(Membership.unscoped.values_list("user_id", "organization_id", "role")),
        "balances": sorted(Account.unscoped.values_list("pk", "balance_nanos")),
    }


@pytest.mark.parametrize(
    "path",
    [
        "/account",
        "/account/context",
        "/account/tokens/new",
        "/account/keys/new",
        "/budgets",
        "/billing/ask",
        "/tasks/import",
        "/tasks/delete",
        "/account/data/erase",
        "/account/data/keep",
        "/account/notifications",
        "/account/notifications/test",
        "/account/notifications/browsers",
        "/account/notifications/browsers/renew",
    ],
)
def test_forms_ignore_every_field_that_is_not_theirs(client, bob, acme, path):
    client.force_login(bob)
    before = snapshot(bob)

    answer = client.post(path, {**EXTRA, "first_name": "Bobby", "name": "x", "days": "1"})

    assert answer.status_code < 500
    assert snapshot(bob) == before


def test_an_edited_key_stays_whose_it_is_and_where(client, bob, acme):
    key = api_keys.make_key(
        by=factories.actor(bob, acme), new=api_keys.NewKey("ci"), at=timezone.now()
    ).key
    client.force_login(bob)
    own = {"name": "new", "days": "kept", "period": "month"}
    answer = client.post(
        f"/account/keys/{key.pk}/edit",
        {**EXTRA, **own, "organization": "", "secret_hash": "x", "revoked_at": "2020-01-01"},
    )
    assert answer.status_code == 302
    changed = ApiKey.unscoped.get()
    assert (changed.name, changed.pk, changed.user_id, changed.organization_id) == (
        "new", key.pk, bob.pk, acme.pk,
    )  # fmt: skip
    assert (changed.secret_hash, changed.revoked_at) == (key.secret_hash, None)


def test_events_belong_to_the_token_and_not_to_the_body(client, bob, mallory, acme):
    """D4"""
    properties = {**EXTRA, "taskId": "t-1", "userId": mallory.pk, "orgId": "org_x"}

    answer = client.post(
        "/api/events",
        json.dumps({"type": "Task Created", "properties": properties}),
        content_type="application/json",
        headers=factories.bearer(bob, acme),
    )

    assert answer.status_code == 200
    assert list(Task.unscoped.values_list("owner_id", "organization_id")) == [(bob.pk, acme.pk)]


def test_user_settings_take_only_settings(client, bob, acme):
    before = snapshot(bob)

    answer = client.patch(
        "/api/user-settings",
        json.dumps({"settings": {**EXTRA, "taskSyncEnabled": False}}),
        content_type="application/json",
        headers=factories.bearer(bob, acme),
    )

    assert answer.json()["settings"] == {"taskSyncEnabled": False}
    assert snapshot(bob) == before


def test_a_share_takes_only_what_it_knows(client, bob, acme):
    from tasks_sharing import actions

    message = {"ts": 1, "type": "say", "say": "text", "text": "Hello"}
    for event in (
        actions.Event("Task Created", {"taskId": "t-1"}),
        actions.Event("Task Message", {"taskId": "t-1", "message": message}),
    ):
        actions.record_event(actor=factories.actor(bob, acme), event=event, at=timezone.now())

    answer = client.post(
        "/api/extension/share",
        json.dumps({**EXTRA, "taskId": "t-1", "visibility": "organization"}),
        content_type="application/json",
        headers=factories.bearer(bob, acme),
    )

    assert answer.json()["success"] is True
    assert Task.unscoped.get().owner_id == bob.pk
