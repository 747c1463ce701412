"""L3: a person gets all and only what is theirs, and leaves nothing but amounts."""

import json
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import models
from django.utils import timezone

from accounts import erasure, forgetting, tasks
from accounts.models import ClientSession, Erasure, User, UserSettings, UserSettingsRevision
from audit import actions as audit
from audit.models import Entry as Trail
from bridge.devices.models import QueuedCommand
from bridge.models import Command, Instance
from credits import actions as credit
from credits.models import Entry, TopUp
from notifications import preferences
from notifications.models import Notice
from orgs.models import Membership
from proxy.models import Completion, Transcript, UsageDay, UsageTask
from proxy.transcripts import Answered, Asked, Part, Turn
from roocloud.checks import undeclared_people
from roocloud.lib import personal
from roocloud.lib.refusals import NotFound
from tasks_sharing import actions as tasks_sharing
from tasks_sharing.models import Import, Task
from telemetry.models import Event
from tests import factories
from tests.bridge import paired

#: Where what a person wrote may stay: the ledger and the trail, which the database does not let
#: change, and what names a completion.
_STAYS = {
    "credits.Entry", "audit.Entry", "proxy.Completion", "proxy.UsageDay", "proxy.UsageTask",
    "orgs.Organization", "audit.Loose",
}  # fmt: skip


class TestEveryColumnThatNamesAPerson:
    def test_is_declared(self):
        """L3"""
        assert undeclared_people(None) == []

    def test_is_noticed_where_it_is_not(self):
        class Meta:
            app_label = "accounts"
            managed = False

        fields = {
            "__module__": __name__,
            "Meta": Meta,
            "seen_by_id": models.CharField(max_length=9),
        }
        forgotten = type("Forgotten", (models.Model,), fields)
        try:
            [error] = undeclared_people(None)
            assert error.msg == f"{forgotten._meta.label}.seen_by_id may name a person."
        finally:
            del apps.all_models["accounts"]["forgotten"]
            apps.clear_cache()

    def test_is_declared_once(self):
        declared = [(holding.name, holding.field) for holding in personal.holdings()]
        assert len(declared) == len(set(declared))

    def test_has_a_reason_where_its_rows_are_not_given_or_stay(self):
        for holding in personal.holdings():
            is_given_and_goes = holding.page is not None and holding.erase is not None
            assert is_given_and_goes or holding.reason, holding


def planted(person, organization) -> set[str]:
    """Things of a person's, in every room, each with a canary of its own."""
    at, made = timezone.now(), []

    def canary():
        made.append(f"canary-{person.first_name.lower()}-{len(made):02}")
        return made[-1]

    person.last_name = canary()
    person.save()
    actor = factories.actor(person, organization)
    factories.client_session(person, label=canary())
    factories.api_key(person, organization, name=canary())
    UserSettings.unscoped.create(
        user=person, version=at.microsecond, document={"x": canary()}, updated_at=at
    )
    UserSettingsRevision.unscoped.create(
        user=person, version=at.microsecond, document={"x": canary()}, made_at=at
    )
    EmailAddress.objects.create(user=person, email=f"{canary()}@x.example")
    SocialAccount.objects.create(user=person, provider="github", uid=canary())
    session = factories.web_session(person)
    session.user_agent = canary()
    session.save()
    LogEntry.objects.create(user=person, object_repr=canary(), action_flag=1)
    preferences.begin(user_id=person.pk, time_zone="UTC", at=at)
    factories.subscription(person, session=session, label=canary())
    Notice.unscoped.create(
        user=person, kind="failed", key="k", topic="t", title=canary(), text=canary(), path="/",
        made_at=at,
    )  # fmt: skip
    account = factories.account(person)
    credit.grant(account=account, amount_nanos=1, key="c", by=None, at=at, note=canary())
    TopUp.unscoped.create(
        account=account,
        asked_by_id=person.pk,
        key="k",
        amount_nanos=1,
        reason=canary(),
        asked_at=at,
    )
    messages = [{"ts": 1 + n, "type": "say", "say": "text", "text": canary()} for n in range(24)]
    told = [tasks_sharing.Event("Task Created", {"taskId": "task-1"})]
    told += [
        tasks_sharing.Event("Task Message", {"taskId": "task-1", "message": m}) for m in messages
    ]
    for event in told:
        tasks_sharing.record_event(actor=actor, event=event, at=at)
    Import.unscoped.create(owner=person, total=1, started_at=at, tried_at=at)
    completion = Completion.unscoped.create(
        user_id=person.pk, organization_id=organization.pk, task_id=canary(), model_id=canary(),
        upstream_name="east", is_stream=True, error=canary(), started_at=at, saved_at=at,
        cost_nanos=7,
    )  # fmt: skip
    usage = {"user_id": person.pk, "day": at.date(), "upstream_name": "east", "completions": 1,
             "prompt_tokens": 1, "completion_tokens": 1, "cost_nanos": 7}  # fmt: skip
    UsageDay.unscoped.create(
        model_id=canary(), failed=0, cache_read_tokens=0, cache_write_tokens=0, **usage
    )
    UsageTask.unscoped.create(model_id=canary(), **usage)
    transcript = Transcript(
        completion_id=completion.pk, organization=organization, user=person, started_at=at
    )
    transcript.seal_request(Asked([Turn("user", [Part("text", canary())])], 0, [], is_cut=False))
    transcript.seal_answer(Answered([], is_cut=False))
    transcript.save()
    Event.unscoped.create(
        user_id=person.pk, type="x", properties=f'{{"x": "{canary()}"}}', digest="d", received_at=at
    )
    Instance.unscoped.create(
        owner=person, instance_id="w", host=canary(), workspace_path=canary(), snapshot=canary(),
        first_seen_at=at, last_seen_at=at,
    )  # fmt: skip
    Command.unscoped.create(
        id=f"cmd_{person.pk}", sender=person, key="k", kind="start_task", device=canary(),
        state="queued", given_at=at, expires_at=at, payload=canary(),
    )  # fmt: skip
    device = paired.paired(person, f"device-{person.pk}", name=canary()).device
    QueuedCommand.unscoped.create(
        owner=person, key="k", fingerprint="f", target=device, kind="new_task", payload=canary(),
        given_at=at, due_at=at, expires_at=at,
    )  # fmt: skip
    audit.record(action="x.done", actor=actor, target_kind="x", target_id="x", note=canary(), at=at)
    return set(made)


def exported(user_id) -> list[dict]:
    found = []
    for holding in personal.holdings():
        cursor = None
        while True:
            lines, cursor = personal.lines(user_id, holding, cursor)
            found += [json.loads(line) for line in lines]
            if cursor is None:
                break
    return found


def everything() -> dict[str, str]:
    """The text of every table."""
    return {
        model._meta.label: str(list(model._base_manager.values()))
        for model in apps.get_models()
        if not model._meta.proxy
    }


@pytest.fixture
def both(alice, bob, acme):
    """Of alice, who is the one to leave, and of bob."""
    Membership.unscoped.filter(user=bob).update(role="owner")
    return planted(alice, acme), planted(bob, acme)


def leave(person, at=None):
    now = at or timezone.now()
    erasure.ask(by=factories.actor(person), at=now - erasure.WAITS - timedelta(hours=1))
    tasks.erase_due()


@pytest.mark.django_db(transaction=True)
class TestTheExport:
    def test_holds_all_and_only_the_persons_data(self, both, alice):
        """L3: 50 canaries of hers, none of his."""
        hers, his = both
        text = json.dumps(exported(alice.pk))
        assert len(hers) >= 50
        assert [canary for canary in sorted(hers) if canary not in text] == []
        assert [canary for canary in sorted(his) if canary in text] == []

    def test_holds_no_secret(self, both, alice):
        """I1"""
        text = json.dumps(exported(alice.pk))
        user = User.objects.get(pk=alice.pk)
        session = ClientSession.unscoped.filter(user=alice).exclude(client_token_hash="").first()
        secrets = [user.password, session.client_token_hash]
        secrets += alice.api_keys.values_list("secret_hash", flat=True)
        for secret in secrets:
            assert secret not in text

    def test_goes_on_from_page_to_page(self, alice, monkeypatch):
        monkeypatch.setattr(personal, "_ROWS", 2)
        for number in range(5):
            factories.client_session(alice, label=f"window-{number}")
        kinds = [
            row["data"]["label"]
            for row in exported(alice.pk)
            if row["kind"] == "accounts.ClientSession"
        ]
        assert sorted(kinds) == [f"window-{number}" for number in range(5)]


@pytest.mark.django_db(transaction=True)
class TestErasure:
    def test_leaves_amounts_under_a_pseudonym_and_nothing_else(self, both, alice, bob):
        """L3"""
        hers, his = both
        before = {name: sum(text.count(c) for c in his) for name, text in everything().items()}
        amounts = list(Entry.unscoped.order_by("pk").values_list("pk", "amount_nanos"))
        leave(alice)

        after = everything()
        left = {name for name, text in after.items() if any(c in text for c in hers)}
        assert left <= _STAYS
        assert "alice@acme.example" not in "".join(
            text for name, text in after.items() if name not in _STAYS
        )
        assert {name: sum(text.count(c) for c in his) for name, text in after.items()} == before
        assert list(Entry.unscoped.order_by("pk").values_list("pk", "amount_nanos")) == amounts
        assert Completion.unscoped.get(user_id=alice.pk).cost_nanos == 7
        assert Completion.unscoped.get(user_id=alice.pk).error == ""
        user = User.objects.get(pk=alice.pk)
        assert (user.name, user.is_active, user.has_usable_password()) == (
            f"{alice.pk}@erased.invalid".lower(), False, False,
        )  # fmt: skip
        assert Trail.objects.filter(action="user.erased", target_id=alice.pk).exists()
        assert Task.unscoped.filter(owner=bob).exists()

    @pytest.mark.parametrize("step", [0, 5, 12, 20])
    def test_that_was_cut_short_goes_on(self, both, alice, monkeypatch, step):
        hers, _ = both

        def cut(user_id):
            raise KeyboardInterrupt

        holdings = list(personal.holdings())
        holdings.insert(len(holdings) - step, personal.Holding(User, "x", None, cut))
        with monkeypatch.context() as patch:
            patch.setattr(personal, "_holdings", holdings)
            with pytest.raises(KeyboardInterrupt):
                leave(alice)
        with pytest.raises(NotFound):
            erasure.take_back(by=factories.actor(alice), at=timezone.now())
        tasks.erase_due()
        assert {n for n, t in everything().items() if any(c in t for c in hers)} <= _STAYS
        assert Erasure.unscoped.get().done_at is not None

    def test_can_be_taken_back_until_it_is_due(self, client, alice, mailoutbox):
        now = timezone.now()
        erasure.ask(by=factories.actor(alice), at=now)
        erasure.ask(by=factories.actor(alice), at=now + timedelta(days=1))
        assert Erasure.unscoped.get().due_at == now + erasure.WAITS
        assert "will be deleted" in mailoutbox[0].subject
        assert len(mailoutbox) == 1
        tasks.erase_due()
        assert User.objects.get(pk=alice.pk).is_active
        client.force_login(alice)
        for page in ("/account", "/account/data"):
            assert "will be deleted" in client.get(page).content.decode()
        assert client.post("/account/data/keep").status_code == 302
        assert not Erasure.unscoped.exists()
        assert client.post("/account/data/keep").status_code == 404

    def test_waits_for_a_last_owner_to_hand_over(self, alice, acme):
        """O2"""
        with pytest.raises(erasure.Obstructed, match="Acme has no other owner"):
            erasure.ask(by=factories.actor(alice), at=timezone.now())
        Erasure.unscoped.create(user=alice, asked_at=timezone.now(), due_at=timezone.now())
        assert forgetting.carry_out(user_id=alice.pk, at=timezone.now()) is False
        assert User.objects.get(pk=alice.pk).is_active
        assert forgetting.due(at=timezone.now()) == []

    def test_is_not_for_the_last_administrator(self, db):
        root = factories.user("root@x.example", is_staff=True, is_superuser=True)
        with pytest.raises(erasure.Obstructed, match="no other administrator"):
            erasure.ask(by=factories.actor(root), at=timezone.now())


async def _joined(answer) -> bytes:
    return b"".join([piece async for piece in answer])


@pytest.mark.django_db(transaction=True)
def test_the_file_is_streamed_and_its_taking_is_on_the_trail(client, bob):
    """L4"""
    client.post("/accounts/login/", {"login": bob.email, "password": factories.PASSWORD})
    assert "whole conversations" in client.get("/account/data/export").content.decode()
    answer = client.post("/account/data/export")
    lines = [json.loads(line) for line in async_to_sync(_joined)(answer).splitlines()]
    [person] = [line["data"] for line in lines if line["kind"] == "accounts.User"]
    assert person["email"] == bob.email
    assert "no-store" in answer.headers["Cache-Control"]
    assert "attachment" in answer.headers["Content-Disposition"]
    assert Trail.objects.filter(action="user.exported", actor_id=bob.pk).exists()


@pytest.mark.django_db
class TestThePages:
    @pytest.fixture
    def fresh(self, client, bob):
        client.post("/accounts/login/", {"login": bob.email, "password": factories.PASSWORD})
        return client

    @pytest.mark.parametrize("page", ["export", "erase"])
    def test_ask_again_who_it_is(self, client, bob, page):
        client.force_login(bob)
        for ask in (client.get, client.post):
            answer = ask(f"/account/data/{page}", {"email": bob.email})
            assert answer.status_code == 302
            assert "reauthenticate" in answer["Location"]
        assert not Erasure.unscoped.exists()

    def test_want_the_address_and_keep_what_was_typed(self, fresh, bob):
        wrong = fresh.post("/account/data/erase", {"email": "bobb@acme.example"})
        assert "This is not the address of your account" in wrong.content.decode()
        assert "bobb@acme.example" in wrong.content.decode()
        assert fresh.post("/account/data/erase", {"email": bob.email}).status_code == 302
        assert Erasure.unscoped.get().user_id == bob.pk

    def test_say_what_stands_in_the_way(self, client, alice, acme):
        client.post("/accounts/login/", {"login": alice.email, "password": factories.PASSWORD})
        assert "Acme has no other owner" in client.get("/account/data").content.decode()
        refused = client.post("/account/data/erase", {"email": alice.email})
        assert "Acme has no other owner" in refused.content.decode()
        assert not Erasure.unscoped.exists()
