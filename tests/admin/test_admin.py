"""Every list and page of the admin, with rows in it; nothing secret, few queries."""

import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models.signals import pre_save
from django.test.utils import CaptureQueriesContext
from django.urls import reverse, reverse_lazy
from django.utils import timezone

from accounts.models import ApiKey, ClientSession, SigningKey
from audit.models import Entry as Trail
from bridge.models import BridgeToken
from credits import actions as credit
from credits.models import Entry
from proxy.models import Completion, Upstream
from roocloud.lib.refusals import InvalidInput
from tasks_sharing.models import Message, Share, Task
from telemetry.models import Event
from tests import factories
from tests.admin.rows import fill

MODELS = sorted(admin.site._registry, key=lambda m: m._meta.label)
LIBRARIES = {EmailAddress, Authenticator, UserSession, SocialAccount}


def changelist(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_list_and_page_opens_and_shows_no_secret(cockpit, rows, model):
    """I2, L4"""
    pages = [changelist(model)]
    row = model._base_manager.first()
    if row is not None:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
        pages.append(reverse(name, args=[quote(row.pk)]))
    secrets = [
        "JBSWY3DPEHPK3PXPCANARYTOTP", "canary-session", "canary-extra",
        *Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes(),
        *(row.data.get("secret", row.data.get("seed")) for row in Authenticator.objects.all()),
        "sk-very-secret", "canary-conversation", Upstream.unscoped.first().sealed_api_key,
        Share.unscoped.first().sealed_token, Share.unscoped.first().token_hash,
        SigningKey.unscoped.first().sealed_private_key, ClientSession.unscoped.first().client_token_hash,
        ApiKey.unscoped.first().secret_hash, BridgeToken.unscoped.first().token_hash,
    ]  # fmt: skip
    for path in pages:
        answer = cockpit.get(path)
        assert answer.status_code == 200, path
        text = answer.content.decode()
        assert [secret for secret in secrets if secret and secret in text] == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_nul_fails_nothing_wherever_it_comes(cockpit, rows, model):
    """F1: PostgreSQL would fail on the look-up."""
    path = changelist(model)
    options = admin.site._registry[model].list_filter
    filters = [one for one in options if isinstance(one, str)]
    for name in ("q", "p", "o", "pk__exact", *filters, *(f"{one}__exact" for one in filters)):
        assert cockpit.get(f"{path}?{name}=%00").status_code < 500, name
    assert cockpit.get(f"{path}x%00/change/").status_code == 404
    chosen = {"action": "end", "_selected_action": "\0", "index": "0"}
    assert cockpit.post(path, chosen).status_code < 500


def test_lists_ask_as_much_for_many_rows_as_for_few(cockpit, rows, alice, acme):
    def asked() -> dict[str, int]:
        counts = {}
        for model in MODELS:
            cockpit.get(changelist(model))
            with CaptureQueriesContext(connection) as captured:
                cockpit.get(changelist(model))
            counts[model._meta.label] = len(captured)
        return counts

    for number in (1, 2):
        fill(alice, acme, number=number)
    few = asked()
    for number in range(3, 12):
        fill(alice, acme, number=number)

    assert asked() == few
    assert max(few.values()) <= 25


@pytest.mark.parametrize("model", [Event, Message, Task], ids=lambda model: model.__name__)
def test_a_list_reads_no_large_table_for_its_filters(cockpit, rows, model):
    with CaptureQueriesContext(connection) as asked:
        page = cockpit.get(changelist(model)).content
    assert [query["sql"] for query in asked if "DISTINCT" in query["sql"]] == []
    if model is Message:
        assert b"?type=ask" in page
        assert b"0 tasks" not in cockpit.get(changelist(model) + "?type=say").content


@pytest.mark.parametrize(
    "model",
    sorted({Entry, Completion, Event, *LIBRARIES}, key=lambda model: model.__name__),
    ids=lambda model: model.__name__,
)
def test_ledgers_and_records_are_to_be_looked_at(cockpit, rows, model):
    """C1, L4"""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pk = model._base_manager.first().pk
    for path in (
        reverse(f"{name}_add"),
        reverse(f"{name}_change", args=[quote(pk)]),
        reverse(f"{name}_delete", args=[quote(pk)]),
    ):
        assert cockpit.post(path, {"note": "x"}).status_code == 403


def test_no_library_brings_a_class_of_its_own():
    """I2: theirs show secrets and change people."""
    ours = {
        m for m, a in admin.site._registry.items() if type(a).__module__ == "roocloud.library_admin"
    }
    assert ours == LIBRARIES
    assert {type(a).__module__.partition(".")[0] for a in admin.site._registry.values()} == {
        "roocloud", "audit", "accounts", "notifications", "orgs", "credits", "tasks_sharing", "proxy", "telemetry",
        "bridge",
    }  # fmt: skip


def grant_form(page, *accounts, **changed) -> dict[str, object]:
    """What the page's form sends, with the key that the page holds."""
    key = re.search(r'name="grant_key" value="([^"]+)"', page.content.decode())
    return {
        "action": "grant",
        "_selected_action": [account.pk for account in accounts],
        "amount": "2.5",
        "reason": "pilot",
        "grant_key": key[1] if key else "guessed",
        **changed,
    }


def balances() -> dict[str, int]:
    return dict(credit.Account.unscoped.values_list("pk", "balance_nanos"))


class TestAGrantOfCredit:
    PATH = reverse_lazy("admin:credits_account_changelist")

    @pytest.fixture
    def accounts(self, rows, bob):
        credit.account_of(user_id=bob.pk, organization_id=None, at=timezone.now())
        return list(credit.Account.unscoped.order_by("pk"))

    def test_needs_a_reason_and_an_amount(self, cockpit, accounts):
        before = balances()
        fields = grant_form(cockpit.get(self.PATH), *accounts)
        for changed, said in (
            ({"reason": ""}, "Say why"),
            ({"amount": "a"}, "not an amount"),
            ({"grant_key": ""}, "Load this page again"),
        ):
            answer = cockpit.post(self.PATH, {**fields, **changed}, follow=True)
            assert said in answer.content.decode()
        assert balances() == before

        cockpit.post(self.PATH, fields)

        assert balances() == {pk: nanos + 2_500_000_000 for pk, nanos in before.items()}
        assert Entry.unscoped.filter(note="pilot").count() == len(accounts)

    def grant_to(self, cockpit, **fields):
        path = reverse("admin:credits_account_grant")
        key = re.search(r'name="grant_key" value="([^"]+)"', cockpit.get(path).content.decode())[1]
        sent = {"amount": "20", "reason": "pilot", "grant_key": key, **fields}
        return sent, cockpit.post(path, sent, follow=True)

    def test_reaches_who_has_no_account_so_far(self, cockpit, acme, bob):
        sent, answer = self.grant_to(cockpit, organization=acme.pk)
        assert "Granted $20.00." in answer.content.decode()
        self.grant_to(cockpit, person=bob.email.upper(), amount="1")
        cockpit.post(reverse("admin:credits_account_grant"), sent)  # C6: sent twice
        found = credit.Account.unscoped.values_list("organization_id", "user_id", "balance_nanos")
        assert set(found) == {(acme.pk, None, 20 * 10**9), (None, bob.pk, 10**9)}

    def test_says_what_it_needs(self, cockpit, acme, bob):
        for fields, said in (
            ({}, "Choose an organization, or name a person."),
            ({"organization": acme.pk, "person": bob.email}, "Choose an organization, or name"),
            ({"person": "nobody@acme.example"}, "Nobody signs in with that address."),
            ({"organization": acme.pk, "amount": "much"}, "is not an amount"),
            ({"organization": acme.pk, "reason": ""}, "This field is required"),
        ):
            assert said in self.grant_to(cockpit, **fields)[1].content.decode(), said
        assert not Entry.unscoped.exists()

    def test_is_made_once_by_a_page_however_often_it_is_sent(self, cockpit, accounts):
        """C6"""
        first = grant_form(cockpit.get(self.PATH), accounts[0])
        cockpit.post(self.PATH, first)
        once = balances()

        again = cockpit.post(self.PATH, {**first, "amount": "7"}, follow=True)

        assert "Granted to 0 of 1" in again.content.decode()
        assert balances() == once
        cockpit.post(self.PATH, grant_form(cockpit.get(self.PATH), accounts[0]))
        assert balances() != once

    def test_is_whole_or_not_at_all(self, cockpit, accounts):
        before = balances()
        seen = []

        def fail_at_the_second(sender, instance, **_):
            seen.append(instance.account_id)
            if len(seen) == 2:
                raise InvalidInput("The second is refused")

        pre_save.connect(fail_at_the_second, sender=Entry)
        try:
            fields = grant_form(cockpit.get(self.PATH), *accounts)
            answer = cockpit.post(self.PATH, fields, follow=True)
        finally:
            pre_save.disconnect(fail_at_the_second, sender=Entry)

        assert "The second is refused" in answer.content.decode()
        assert seen == [account.pk for account in accounts]
        assert balances() == before

    @pytest.mark.parametrize(("permissions", "granted"), [([], 0), (["grant_credit"], 1)])
    def test_needs_the_permission_to_grant(self, client, accounts, permissions, granted):
        """A2: to look is not to grant."""
        clerk = factories.user("clerk@example.com", is_staff=True)
        codenames = ["view_account", *permissions]
        clerk.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(clerk)

        page = client.get(self.PATH)
        client.post(self.PATH, grant_form(page, accounts[0]))

        assert page.status_code == 200
        assert (b"Grant credit" in page.content) == bool(granted)
        to_others = client.get(reverse("admin:credits_account_grant"))
        assert to_others.status_code == (200 if granted else 403)
        assert Entry.unscoped.filter(note="pilot").count() == granted


def test_a_key_goes_in_and_never_comes_out(cockpit, rows):
    """I2, K2: whoever sends the provider somewhere else must know its key."""
    row = Upstream.unscoped.get()
    path = reverse("admin:proxy_upstream_change", args=[quote(row.pk)])
    fields = {
        "name": row.name,
        "kind": row.kind,
        "base_url": "https://b.example/v1/",
        "enabled": "on",
        "output_limit": "max_tokens",
        "dropped_parameters": "[]",
        "extra_parameters": "",
        "first_byte_timeout_s": 300,
        "idle_timeout_s": 300,
    }

    assert "Give the key" in cockpit.post(path, {**fields, "api_key": ""}).content.decode()
    row.refresh_from_db()
    assert (row.api_key(), row.base_url) == ("sk-very-secret", "https://a.example/v1")

    same = {**fields, "base_url": row.base_url, "dropped_parameters": '["top_p"]'}
    cockpit.post(path, {**same, "api_key": ""})
    row.refresh_from_db()
    assert (row.api_key(), row.dropped_parameters) == ("sk-very-secret", ["top_p"])

    cockpit.post(path, {**fields, "api_key": "sk-new"})
    row.refresh_from_db()
    assert row.api_key() == "sk-new"


def test_the_actions_call_the_rules(cockpit, rows):
    key = ApiKey.unscoped.get()
    cockpit.post(changelist(ApiKey), {"action": "revoke", "_selected_action": key.pk})
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert Trail.objects.filter(action="api_key.revoked", target_id=key.pk).count() == 1
    session, share = ClientSession.unscoped.filter(kind="editor").first(), Share.unscoped.get()
    cockpit.post(changelist(ClientSession), {"action": "end", "_selected_action": session.pk})
    cockpit.post(changelist(Share), {"action": "revoke", "_selected_action": share.pk})
    session.refresh_from_db()
    share.refresh_from_db()
    assert session.ended_at is not None
    assert share.revoked_at is not None


def test_upstreams_are_switched_off_and_on(cockpit, rows):
    """L4"""
    row = Upstream.unscoped.get()
    for action, is_on in (("disable", False), ("disable", False), ("enable", True)):
        cockpit.post(changelist(Upstream), {"action": action, "_selected_action": row.pk})
        row.refresh_from_db()
        assert row.enabled is is_on
    switched = Trail.objects.filter(action__startswith="upstream.switched_", target_id=row.pk)
    assert switched.count() == 2


def test_to_look_is_not_to_act(client, rows):
    """A2"""
    clerk = factories.user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_share"))
    client.force_login(clerk)
    share = Share.unscoped.get()
    client.post(changelist(Share), {"action": "revoke", "_selected_action": share.pk})
    share.refresh_from_db()
    assert share.revoked_at is None


def test_rights_are_given_by_who_has_them_all_and_noted(client, cockpit, rows, alice):
    """A4, L4"""
    path = reverse("admin:accounts_user_change", args=[quote(alice.pk)])
    fields = {"first_name": "Alice", "last_name": "A.", "is_active": "on", "is_staff": "on"}
    cockpit.post(path, fields)
    entry = Trail.objects.get(action="user.changed", target_id=alice.pk)
    assert (entry.before["is_staff"], entry.after["is_staff"]) == (False, True)

    clerk = factories.user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client.force_login(clerk)
    own = reverse("admin:accounts_user_change", args=[quote(clerk.pk)])
    client.post(own, {**fields, "is_superuser": "on"})
    clerk.refresh_from_db()
    assert (clerk.is_superuser, clerk.last_name) == (False, "A.")
