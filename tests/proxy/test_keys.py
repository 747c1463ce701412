"""API keys at the proxy: what they open, what they are limited to, what their budgets say (MO9)."""

import asyncio
import json
from datetime import timedelta

import aiohttp
import openai
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey
from audit.models import Entry
from credits import actions as credit
from credits import budgets
from credits.models import Account, Budget
from orgs.actions import put_member
from proxy import actions, keys
from proxy.models import LanguageModel
from roocloud.lib.money import NANOS_PER_USD as USD
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream
from tests.proxy.test_completions import settled

PRICE = actions.NewPrice(3 * USD, 15 * USD)
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


def offer(url: str, *model_ids: str) -> None:
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=url, api_key=KEY, by=None, at=at)
    for model_id in model_ids:
        actions.put_model(
            model_id=model_id, upstream=row, upstream_model="plain", price=PRICE,
            facts=actions.ModelFacts(max_tokens=100, context_window=2000), by=None, at=at,
        )  # fmt: skip


@pytest.fixture
def models(db) -> None:
    offer("https://api.example.com/v1", "fake/plain", "fake/other")


@pytest.fixture
def live_models(transactional_db, upstream) -> None:
    upstream.requests.clear()
    offer(upstream.url, "fake/plain", "fake/other")


@pytest.fixture
def account(alice, acme) -> Account:
    return factories.account(alice, acme)


def make(person, org=None, *, usd=None, period="month", at=None, **facts) -> api_keys.Issued:
    return keys.make_key(
        by=factories.actor(person, org),
        new=api_keys.NewKey(**{"name": "notebook", **facts}),
        limit=None if usd is None else keys.Limit(int(usd * USD), period),
        at=at or timezone.now(),
    )


@pytest.mark.django_db(transaction=True)
class TestCompletions:
    @pytest.fixture
    def ask(self, live_url, live_models):
        def complete(secret, model="fake/plain"):
            client = openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=secret, max_retries=0)
            return client.chat.completions.create(model=model, messages=MESSAGES)

        return complete

    def test_the_openai_client_works_and_the_key_is_on_record(self, ask, bob, acme, account):
        issued = make(bob, acme)

        assert ask(issued.secret).choices[0].message.content

        row = settled(account)
        assert (row.api_key_id, row.user_id, row.organization_id) == (
            issued.key.pk, bob.pk, acme.pk,
        )  # fmt: skip
        key = ApiKey.unscoped.get()
        assert key.last_used_network == "127.0.0.0/24"
        assert key.last_used_app.startswith("OpenAI/Python")

    async def post(self, live_url, headers) -> int:
        url, body = f"{live_url}/proxy/v1/chat/completions", {"model": "fake/plain"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json={**body, "messages": MESSAGES}) as answer,
        ):
            return answer.status

    def test_x_api_key_works_and_goes_nowhere_else(
        self, live_url, live_models, bob, acme, account, upstream
    ):
        """K2: the upstream gets the deployment's key and never the member's."""
        secret = make(bob, acme).secret
        for headers in (
            {"x-api-key": secret},
            {"x-api-key": secret, "Authorization": "Bearer unauthenticated"},
        ):
            assert asyncio.run(self.post(live_url, headers)) == 200
        assert len(upstream.requests) == 2
        assert secret not in str(upstream.requests)

    def test_a_model_that_is_not_on_the_list_is_403_by_name(self, ask, bob, acme, account):
        actions.put_alias(
            alias="short", model=actions.LanguageModel.unscoped.get(model_id="fake/plain")
        )
        secret = make(bob, acme, name="nightly", model_ids=["fake/plain"]).secret
        with pytest.raises(openai.PermissionDeniedError) as refused:
            ask(secret, "fake/other")
        assert refused.value.code == "model_not_allowed"
        assert "nightly" in refused.value.message
        assert ask(secret, "short")

    def test_its_budget_is_held_and_other_keys_go_on(self, ask, bob, acme, account, upstream):
        """C3, C7"""
        limited, free = make(bob, acme, usd=0.0001), make(bob, acme)
        with pytest.raises(openai.APIStatusError, match="This API key's monthly budget") as refused:
            ask(limited.secret)
        assert refused.value.status_code == 402
        assert upstream.requests == []
        assert ask(free.secret)

    def test_it_is_limited_apart_from_its_owner(self, ask, bob, acme, account, settings):
        """MO7"""
        none = {"requests": 0, "tokens": 0, "at_once": 0}
        settings.ROOCLOUD_LIMITS = {
            "member": none, "organization": none, "key": {**none, "requests": 2},
        }  # fmt: skip
        first, second = make(bob, acme), make(bob, acme)
        assert ask(first.secret)
        with pytest.raises(openai.RateLimitError, match="This API key's limit of 2 requests"):
            ask(first.secret)
        assert ask(second.secret)

    def test_a_stopped_key_is_401_in_openais_words(self, ask, bob, acme, account):
        issued = make(bob, acme)
        ask(issued.secret)
        api_keys.pause_key(key=issued.key, by=factories.actor(bob, acme), at=timezone.now())
        with pytest.raises(openai.AuthenticationError, match="paused"):
            ask(issued.secret)


class TestTheListOfModels:
    def ids(self, client, **headers):
        answer = client.get("/proxy/v1/models", headers=headers)
        return [entry["id"] for entry in answer.json()["data"]]

    @pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
    def test_is_the_keys(self, client, models, bob, acme, header):
        narrow, wide = make(bob, acme, model_ids=["fake/plain"]), make(bob, acme)
        bearer = "Bearer " if header == "Authorization" else ""
        assert self.ids(client, **{header: bearer + narrow.secret}) == ["fake/plain"]
        assert len(self.ids(client, **{header: bearer + wide.secret})) == 2


class TestMaking:
    def test_is_for_roles_that_may_spend(self, models, rhea, bob, acme):
        with pytest.raises(Forbidden):
            make(rhea, acme)
        make(rhea)
        assert ApiKey.unscoped.get().organization_id == ""

    def test_takes_models_that_the_member_may_use(self, models, bob, acme):
        with pytest.raises(InvalidInput) as refused:
            make(bob, acme, model_ids=["fake/plain", "no/such"])
        assert (refused.value.field, ApiKey.unscoped.count()) == ("models", 0)

    def test_a_bad_budget_makes_no_key(self, models, bob, acme):
        for limit in (keys.Limit(-1, "month"), keys.Limit(1, "year")):
            with pytest.raises(InvalidInput):
                keys.make_key(
                    by=factories.actor(bob, acme), new=api_keys.NewKey("x"), limit=limit,
                    at=timezone.now(),
                )  # fmt: skip
        assert not ApiKey.unscoped.exists()


class TestChanging:
    """MO9: all of a key but its secret and its context, by its owner."""

    def change(self, person, org, key, *, limit=None, **more) -> None:
        facts = {"name": key.name, "note": key.note, "model_ids": key.model_ids,
                 "expires_at": key.expires_at, **more}  # fmt: skip
        keys.change_key(
            by=factories.actor(person, org), key=key, facts=api_keys.KeyFacts(**facts),
            limit=limit, at=timezone.now(),
        )  # fmt: skip

    def test_counts_at_once_and_is_on_the_trail(self, client, models, bob, acme):
        issued = make(bob, acme)
        headers = {"X-Api-Key": issued.secret}
        assert len(client.get("/proxy/v1/models", headers=headers).json()["data"]) == 2
        ends = timezone.now() + timedelta(days=3)
        self.change(bob, acme, issued.key, name="ci", model_ids=["fake/other"], expires_at=ends)

        listed = client.get("/proxy/v1/models", headers=headers).json()["data"]
        assert [entry["id"] for entry in listed] == ["fake/other"]
        entry = Entry.objects.get(action="api_key.changed")
        assert (entry.actor_id, entry.organization_id, entry.target_id) == (
            bob.pk, acme.pk, issued.key.pk,
        )  # fmt: skip
        assert entry.before == {"name": "notebook", "models": [], "expires_at": None}
        assert entry.after == {
            "name": "ci", "models": ["fake/other"], "expires_at": ends.isoformat(),
        }  # fmt: skip

    def test_what_is_the_same_is_not_written(self, models, bob, acme):
        key = make(bob, acme, usd=5).key
        rows = Entry.objects.count()
        self.change(bob, acme, key, limit=keys.Limit(5 * USD, "month"))
        assert Entry.objects.count() == rows

    def test_is_its_owners(self, models, bob, adam, acme):
        """A1"""
        key = make(bob, acme).key
        with pytest.raises(Forbidden):
            self.change(adam, acme, key, name="mine")
        key.refresh_from_db()
        assert key.name == "notebook"

    def test_takes_models_that_the_owner_may_use_and_keeps_those_it_had(self, models, bob, acme):
        key = make(bob, acme, model_ids=["fake/plain"]).key
        LanguageModel.unscoped.filter(model_id="fake/plain").update(visible=False)
        self.change(bob, acme, key, model_ids=["fake/plain", "fake/other"])
        with pytest.raises(InvalidInput) as refused:
            self.change(bob, acme, key, model_ids=["no/such"])
        assert refused.value.field == "models"
        self.change(bob, acme, key, model_ids=["fake/other"])
        with pytest.raises(InvalidInput):
            self.change(bob, acme, key, model_ids=["fake/plain"])

    @pytest.mark.parametrize("more", [{"name": " "}, {"days": -1}, {"days": 1200}])
    def test_what_makes_no_key_changes_none(self, models, bob, acme, more):
        key = make(bob, acme).key
        if days := more.pop("days", 0):
            more["expires_at"] = timezone.now() + timedelta(days=days)
        with pytest.raises(InvalidInput):
            self.change(bob, acme, key, limit=keys.Limit(USD, "day"), **more)
        assert not Budget.unscoped.exists()

    def test_what_has_ended_stays_so(self, models, bob, acme):
        past = make(
            bob, acme, lifetime=timedelta(days=1), at=timezone.now() - timedelta(days=2)
        ).key
        revoked = make(bob, acme).key
        api_keys.revoke_key(key=revoked, by=factories.actor(bob, acme), at=timezone.now())
        for key in (past, revoked):
            with pytest.raises(Conflict):
                self.change(bob, acme, key, name="again", expires_at=None)

    def test_its_budget_is_changed_moved_and_removed(self, models, bob, acme):
        key = make(bob, acme, usd=5).key
        for limit in (keys.Limit(9 * USD, "month"), keys.Limit(9 * USD, "day"), None):
            self.change(bob, acme, key, limit=limit)
            found = Budget.unscoped.values_list("limit_nanos", "period", "subject")
            assert list(found) == ([(limit.limit_nanos, limit.period, key.pk)] if limit else [])

    def test_what_an_admin_has_set_stays(self, models, bob, adam, acme, account):
        """A1: neither by another limit nor by another period."""
        key = make(bob, acme).key
        budgets.put_budget(
            by=factories.actor(adam, acme), account=account, scope="key", subject=key.pk,
            period="month", limit_nanos=USD, at=timezone.now(),
        )  # fmt: skip
        for limit in (None, keys.Limit(9 * USD, "month"), keys.Limit(9 * USD, "day")):
            self.change(bob, acme, key, limit=limit, note=f"{limit}")
            assert Budget.unscoped.get().limit_nanos == USD

    def test_is_for_roles_that_may_spend(self, models, bob, alice, acme):
        key = make(bob, acme).key
        put_member(
            organization=acme, user=bob, role="readonly", by=factories.actor(alice, acme),
            at=timezone.now(),
        )  # fmt: skip
        with pytest.raises(Forbidden):
            self.change(bob, acme, key, name="x")


class TestBudgetsOfKeys:
    """A member sets those of their own keys, and lifts none that an admin has set."""

    def put(self, person, org, key_id, usd=1, account=None):
        by = factories.actor(person, org)
        account = account or credit.account_of(
            user_id=person.pk, organization_id=org.pk if org else None, at=timezone.now()
        )
        return budgets.put_budget(
            by=by, account=account, scope="key", subject=key_id, period="month",
            limit_nanos=usd * USD, at=timezone.now(),
        )  # fmt: skip

    def test_are_set_changed_and_removed_by_the_owner(self, bob, acme, account):
        key = make(bob, acme, usd=5).key
        assert Budget.unscoped.get().limit_nanos == 5 * USD
        budget = self.put(bob, acme, key.pk, 9)
        budgets.remove_budget(by=factories.actor(bob, acme), budget_id=budget.pk, at=timezone.now())
        assert not Budget.unscoped.exists()

    def test_are_nobody_elses_but_an_admins(self, bob, rhea, mallory, acme, evil, account):
        """A1"""
        key = make(bob, acme, usd=5).key
        personal = make(bob).key
        budget = Budget.unscoped.get()
        for person, org, key_id, whose in (
            (rhea, acme, key.pk, account), (mallory, evil, key.pk, account),
            (bob, None, key.pk, account), (bob, acme, "", account),
            (bob, acme, personal.pk, account), (bob, acme, "key_unknown", account),
        ):  # fmt: skip
            with pytest.raises(Forbidden):
                self.put(person, org, key_id, 99, account=whose)
        for person, org in ((rhea, acme), (mallory, evil), (bob, None)):
            with pytest.raises((Forbidden, NotFound)):
                budgets.remove_budget(
                    by=factories.actor(person, org), budget_id=budget.pk, at=timezone.now()
                )
        budget.refresh_from_db()
        assert (Budget.unscoped.count(), budget.limit_nanos) == (1, 5 * USD)

    def test_what_an_admin_has_set_the_owner_does_not_lift(self, bob, adam, acme, account):
        key = make(bob, acme, usd=5).key
        budget = self.put(adam, acme, key.pk, 2)
        with pytest.raises(Forbidden):
            self.put(bob, acme, key.pk, 99)
        with pytest.raises(Forbidden):
            budgets.remove_budget(
                by=factories.actor(bob, acme), budget_id=budget.pk, at=timezone.now()
            )
        budget.refresh_from_db()
        assert budget.limit_nanos == 2 * USD

    @pytest.mark.django_db(transaction=True)
    def test_warn_the_owner_too(self, bob, acme, account):
        key = make(bob, acme, usd=0.5).key
        self.spend(account, key, 4 * USD // 10)
        assert bob.email in {to for message in mail.outbox for to in message.to}

    def spend(self, account, key, nanos):
        at = timezone.now()
        request = credit.HoldRequest(account.pk, nanos, {"key": key.pk})
        (hold,) = credit.place_holds([request], at=at)
        credit.settle_holds([credit.Charge(hold, f"run-{nanos}", nanos)], closing=[hold], at=at)

    def test_show_what_the_key_spent_of_those_that_apply(
        self, bob, adam, mallory, acme, evil, account
    ):
        key, other = make(bob, acme, usd=0.5).key, make(bob, acme).key
        personal = make(bob).key
        self.put(adam, acme, "", 3)
        self.put(mallory, evil, key.pk)  # on another account, so it concerns nobody
        self.spend(account, key, USD // 10)

        found = budgets.of_keys([key, other, personal], at=timezone.now())

        shown = {
            key_id: sorted((one.budget.limit_nanos, one.spent_nanos) for one in standings)
            for key_id, standings in found.items()
        }
        assert shown == {
            key.pk: [(USD // 2, USD // 10), (3 * USD, USD // 10)],
            other.pk: [(3 * USD, 0)],
        }


class TestTheCommand:
    def test_prints_a_key_with_a_budget(self, models, bob, acme, capsys):
        call_command(
            "create_api_key", bob.email, "--org", "Acme", "--name", "ci", "--model", "fake/plain",
            "--days", "7", "--budget", "3", "--period", "week",
        )  # fmt: skip
        secret = capsys.readouterr().out.strip()
        key, budget = ApiKey.unscoped.get(), Budget.unscoped.get()
        assert (key.last_four, key.organization_id, key.model_ids) == (
            secret[-4:], acme.pk, ["fake/plain"],
        )  # fmt: skip
        assert (budget.subject, budget.period, budget.limit_nanos) == (key.pk, "week", 3 * USD)

    @pytest.mark.parametrize(
        "options",
        [
            ["nobody@acme.example", "--name", "x"], ["bob@acme.example", "--name", ""],
            ["bob@acme.example", "--name", "x", "--org", "Nowhere"],
            ["bob@acme.example", "--name", "x", "--org", "Evil Corp"],
            ["bob@acme.example", "--name", "x", "--model", "no/such"],
            ["bob@acme.example", "--name", "x", "--days", "0"],
            ["bob@acme.example", "--name", "x", "--budget", "a lot"],
        ],
    )  # fmt: skip
    def test_says_what_is_wrong(self, models, bob, acme, evil, options):
        with pytest.raises(CommandError):
            call_command("create_api_key", *options)
        assert not ApiKey.unscoped.exists()


def test_the_secret_is_in_no_log_and_no_trail(client, models, bob, acme, caplog):
    """I1"""
    issued = make(bob, acme)
    client.get("/proxy/v1/models", headers={"X-Api-Key": issued.secret})
    client.get("/api/extension-settings", headers={"Authorization": f"Bearer {issued.secret}"})
    trail = json.dumps(list(Entry.objects.values()), default=str)
    for place in (caplog.text, trail):
        assert issued.secret not in place
        assert issued.key.secret_hash not in place
