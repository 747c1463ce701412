"""Export and end of an organization; O2, C1, A1, L4."""

import asyncio
import io
import json
import re
import zipfile
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import ApiKey, ClientSession
from audit.models import Entry
from bridge.models import Instance
from credits.models import Account
from credits.models import Entry as LedgerEntry
from orgs import actions, estate, items, tasks
from orgs.models import (
    Invitation,
    MarketplaceItem,
    Membership,
    Organization,
    SettingsDraft,
    SettingsRevision,
)
from proxy.models import LanguageModel, Upstream
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput
from tasks_sharing import actions as conversations
from tasks_sharing.models import Import, Message, Share, Task
from telemetry.models import Backfill, Event
from tests import factories

WAIT = timedelta(days=14)
#: What still names an organization that is gone, and why.
KEPT = {
    "accounts.ClientSession": "people's sign-ins, which open nothing of it any more; jobs are ended",
    "accounts.ApiKey": "revoked",
    "accounts.Ticket": "a minute's life",
    "audit.Entry": "L4",
    "credits.Account": "C1",
    "proxy.Upstream": "without its key: completions name it",
    "proxy.Completion": "C1: what the ledger's charges are of",
    "proxy.UsageDay": "the sums of these",
    "proxy.UsageTask": "the sums of these",
}
CLEARED = {
    "bridge.BridgeToken", "bridge.Instance", "bridge.Command", "orgs.Logo", "orgs.Membership",
    "orgs.Departure", "orgs.Domain", "orgs.SingleSignOn", "orgs.Invitation", "orgs.SettingsRevision",
    "orgs.SettingsDraft", "orgs.MarketplaceItem", "proxy.LanguageModel", "proxy.IdempotencyKey",
    "proxy.TranscriptKeeping", "proxy.Transcript", "tasks_sharing.Task", "tasks_sharing.TaskText",
    "tasks_sharing.Image", "tasks_sharing.Import", "telemetry.Event", "telemetry.Backfill",
}  # fmt: skip


def test_every_table_says_what_becomes_of_it_when_an_organization_goes():
    names = {"organization", "organization_id", "organizations", "tenant_id"}
    owned = {
        model._meta.label
        for model in apps.get_models()
        if any(field.name in names or field.attname in names for field in model._meta.fields)
        or any(field.name in names for field in model._meta.many_to_many)
    }
    assert owned == KEPT.keys() | CLEARED


def ask(org, by, typed="Acme", at=None):
    return actions.ask_deletion(
        organization=org, typed=typed, by=factories.actor(by, org), at=at or timezone.now()
    )


def keep(org, by, at=None):
    actions.take_back_deletion(
        organization=org, by=factories.actor(by, org), at=at or timezone.now()
    )


@pytest.fixture
def owned(alice, bob, acme, evil, mallory):
    """Something of acme's in every room, and the same of evil's."""
    at = timezone.now()
    for person, org in ((alice, acme), (mallory, evil)):
        by = factories.actor(person, org)
        message = {"ts": 1, "type": "say", "say": "text", "text": f"secret of {org.name}"}
        for kind, more in (("Task Created", {}), ("Task Message", {"message": message})):
            event = conversations.Event(kind, {"taskId": "t-1", **more})
            conversations.record_event(actor=by, event=event, at=at)
        conversations.share_task(actor=by, task_id="t-1", visibility="organization", at=at)
        Import.unscoped.create(owner=person, organization=org, total=1, started_at=at, tried_at=at)
        Event.unscoped.create(
            user_id=person.pk, organization_id=org.pk, type="x", properties="{}", digest=org.pk,
            received_at=at,
        )  # fmt: skip
        Backfill.unscoped.create(
            user_id=person.pk, organization_id=org.pk, task_pk="gone", received_at=at, tried_at=at
        )
        Instance.unscoped.create(
            owner=person, instance_id="w", organization_id=org.pk, snapshot="{}",
            first_seen_at=at, last_seen_at=at,
        )  # fmt: skip
        actions.invite(organization=org, email="n@x.example", role="member", by=by, at=at)
        now = actions.current_revision(org)
        actions.propose(
            organization=org, document=now.document, read_version=now.version, by=by, note="", at=at
        )
        mode = {"id": "m", "name": "M", "description": ""}
        mode["content"] = "{slug: m, name: m, roleDefinition: m, groups: []}"
        actions.put_item(organization=org, item=items.parse(mode), by=by, at=at)
        factories.api_key(person, org)
        factories.client_session(person, "job", organization_id=org.pk)
        factories.account(person, org, dollars=5)
        upstream = Upstream(
            name=org.slug, base_url="https://up.example/v1", organization=org, created_at=at
        )
        upstream.set_api_key(f"sk-{org.slug}")
        upstream.save()
        model = LanguageModel.unscoped.create(model_id=f"m/{org.slug}", name="m", created_at=at)
        model.organizations.add(org)
    return acme


class TestDeletion:
    def test_waits_and_is_for_owners_who_type_the_name(self, adam, alice, acme):
        with pytest.raises(Forbidden):
            ask(acme, adam)
        with pytest.raises(InvalidInput, match="Type the name") as refused:
            ask(acme, alice, typed="acme")
        assert refused.value.field == "name"
        at = timezone.now()
        assert ask(acme, alice, at=at) == at + WAIT
        with pytest.raises(Conflict):
            ask(acme, alice)
        assert actions.due_deletions(at=at + WAIT - timedelta(seconds=1)) == []
        assert actions.due_deletions(at=at + WAIT) == [acme.pk]

    def test_can_be_taken_back_by_any_owner_until_it_begins(self, alice, adam, bob, acme):
        at = timezone.now()
        ask(acme, alice, at=at)
        actions.put_member(organization=acme, user=bob, role="owner", by=None, at=at)
        with pytest.raises(Forbidden):
            keep(acme, adam)
        keep(acme, bob)
        assert actions.due_deletions(at=at + WAIT * 2) == []
        ask(acme, bob, at=at)
        keep(acme, bob, at=at + WAIT)  # too late
        assert actions.due_deletions(at=at + WAIT) == [acme.pk]

    def test_tells_owners_and_admins(
        self, alice, adam, acme, mailoutbox, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            ask(acme, alice)
        with django_capture_on_commit_callbacks(execute=True):
            keep(acme, alice)
        assert sorted((mail.to[0], mail.subject) for mail in mailoutbox) == [
            ("adam@acme.example", "[Roo Cloud] Acme is to be deleted"),
            ("adam@acme.example", "[Roo Cloud] Acme stays"),
            ("alice@acme.example", "[Roo Cloud] Acme is to be deleted"),
            ("alice@acme.example", "[Roo Cloud] Acme stays"),
        ]
        assert "Alice Archer (alice@acme.example) asked to delete Acme" in mailoutbox[0].body

    def test_takes_everything_but_the_books_and_nothing_of_others(self, owned, client, alice, evil):
        """C1, L4, I2; B4: tokens and keys stop at once."""
        at = timezone.now()
        headers = factories.bearer(alice, owned)
        assert client.get("/api/extension-settings", headers=headers).status_code == 200
        balance = Account.unscoped.get(organization=owned).balance_nanos
        entries = LedgerEntry.unscoped.count()
        before = {one.pk: one.name for one in Upstream.unscoped.all()}
        ask(owned, alice, at=at)
        actions.carry_out_deletion(organization_id=owned.pk, at=at + WAIT)

        assert client.get("/api/extension-settings", headers=headers).status_code == 401
        gone = Organization.unscoped.get(pk=owned.pk)
        assert (gone.name, gone.deleted_at) == ("Deleted organization", at + WAIT)
        for model in (
            Membership,
            Invitation,
            SettingsRevision,
            SettingsDraft,
            MarketplaceItem,
            Task,
            Import,
            Event,
            Backfill,
            Instance,
        ):
            left = set(model.unscoped.values_list("organization_id", flat=True))
            assert left in ({evil.pk}, set()), model
            assert evil.pk in left, model
        assert Share.unscoped.count() == Message.unscoped.count() == 1
        assert ApiKey.unscoped.get(organization_id=owned.pk).revoked_at
        assert ClientSession.unscoped.get(kind="job", organization_id=owned.pk).ended_at
        assert ApiKey.unscoped.get(organization_id=evil.pk).revoked_at is None
        assert Account.unscoped.get(organization=owned).balance_nanos == balance
        assert LedgerEntry.unscoped.count() == entries
        ours = Upstream.unscoped.get(organization=owned)
        assert (ours.api_key(), ours.enabled, ours.name) == ("", False, before[ours.pk])
        assert Upstream.unscoped.get(organization=evil).api_key() == "sk-evil-corp"
        assert not LanguageModel.unscoped.get(model_id="m/acme").visible
        assert LanguageModel.unscoped.get(model_id="m/evil-corp").visible
        assert Entry.objects.filter(action="organization.deleted", organization_id=owned.pk)

    def test_goes_on_where_it_was_cut_off(self, owned, alice, monkeypatch):
        at = timezone.now()
        ask(owned, alice, at=at)

        def fail(*_args, **_options):
            raise CannotUnseal("the power")

        with monkeypatch.context() as patch:
            patch.setattr(estate._parts[-1], "clear", fail)
            tasks.delete_due()  # not due
            patch.setattr(timezone, "now", lambda: at + WAIT)
            tasks.delete_due()  # cut off, and logged
        assert not Membership.unscoped.filter(organization=owned).exists()
        assert Organization.unscoped.get(pk=owned.pk).cleared_at is None

        actions.carry_out_deletion(organization_id=owned.pk, at=at + WAIT)
        person = alice  # a request that was under way
        Task.unscoped.create(
            owner=person, organization=owned, task_id="late", created_at=at, last_activity_at=at
        )
        later = at + WAIT + timedelta(minutes=10)
        assert actions.carry_out_deletion(organization_id=owned.pk, at=later)
        assert not Task.unscoped.filter(organization=owned).exists()
        assert actions.due_deletions(at=later) == []
        assert Entry.objects.filter(action="organization.deleted").count() == 1

    def test_is_no_cascade(self, owned):
        with pytest.raises(IntegrityError):
            Organization.unscoped.filter(pk=owned.pk).delete()


def fetch(answer) -> zipfile.ZipFile:
    async def read():
        return b"".join([piece async for piece in answer.streaming_content])

    return zipfile.ZipFile(io.BytesIO(asyncio.run(read())))


class TestThePages:
    @pytest.fixture
    def page(self, client, acme, alice):
        client.force_login(alice)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        return f"/organizations/{acme.pk}/delete"

    def test_ask_and_keep(self, client, page, acme):
        wrong = client.post(page, {"do": "delete", "name": "Acne"})
        assert wrong.status_code == 400
        assert b'value="Acne"' in wrong.content
        assert b"Type the name as it is: Acme" in wrong.content
        client.post(page, {"do": "delete", "name": "Acme"})
        assert b"is to be deleted" in client.get(f"/organizations/{acme.pk}").content
        assert b"Keep Acme" in client.get(page).content
        client.post(page, {"do": "keep"})
        assert Organization.unscoped.get(pk=acme.pk).deletion_due_at is None

    def test_ask_for_the_password_again(self, client, page, alice, acme):
        client.logout()
        client.force_login(alice)
        for answer in (
            client.post(page, {"do": "delete", "name": "Acme"}),
            client.get(f"/organizations/{acme.pk}/export"),
        ):
            assert "/accounts/reauthenticate/" in answer["Location"]
        assert Organization.unscoped.get(pk=acme.pk).deletion_due_at is None

    def test_are_for_owners(self, client, page, adam, bob, acme):
        """A1, A4"""
        for person in (adam, bob):
            client.force_login(person)
            for answer in (
                client.get(page),
                client.post(page, {"do": "delete", "name": "Acme"}),
                client.post(page, {"do": "keep"}),
                client.get(f"/organizations/{acme.pk}/export"),
            ):
                assert answer.status_code == 403
            assert b"Delete" not in client.get(f"/organizations/{acme.pk}/general").content

    @pytest.mark.django_db(transaction=True)
    def test_export_holds_all_of_it_and_nothing_of_others(self, client, owned, page, evil):
        """A1, I2, L4"""
        answer = client.get(f"/organizations/{owned.pk}/export")
        assert answer["Content-Type"] == "application/zip"
        archive = fetch(answer)
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
        assert sorted(texts) == [
            "invitations.jsonl", "ledger.csv", "marketplace.jsonl", "members.jsonl", "organization.jsonl",
            "proposed-settings.jsonl", "settings.jsonl", "tasks.ndjson", "upstreams.jsonl", "usage.csv",
        ]  # fmt: skip
        members = [json.loads(line) for line in texts["members.jsonl"].splitlines()]
        assert {(one["email"], one["role"]) for one in members} == {
            ("alice@acme.example", "owner"), ("adam@acme.example", "admin"),
            ("bob@acme.example", "member"), ("rhea@acme.example", "readonly"),
        }  # fmt: skip
        [task] = [json.loads(line) for line in texts["tasks.ndjson"].splitlines()]
        assert task["messages"][0]["text"] == "secret of Acme"
        assert "5000000000" in texts["ledger.csv"]
        everything = "".join(texts.values())
        assert not re.search(r"evil|mallory|sk-acme|sha256|[0-9a-f]{64}", everything, re.IGNORECASE)
        assert Entry.objects.filter(action="organization.exported").count() == 1
