"""The pages of budgets: who sees which, who sets them, and what they say of the present period."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import api_keys
from accounts.actors import ORGANIZATION_KEY
from credits import actions, budgets, overview
from credits.models import Budget
from roocloud.lib.ids import new_id
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories


@pytest.fixture
def account(alice, acme):
    at = timezone.now()
    made = actions.account_of(user_id=alice.pk, organization_id=acme.pk, at=at)
    actions.grant(account=made, amount_nanos=100 * USD, key="g", by=None, at=at, note="")
    return made


@pytest.fixture
def limit(account, alice, acme):
    def make(scope="account", usd=10, *, subject="", period="month") -> Budget:
        return budgets.put_budget(
            by=factories.actor(alice, acme), account=account, scope=scope, subject=subject,
            period=period, limit_nanos=usd * USD, at=timezone.now(),
        )  # fmt: skip

    return make


def spend(account, usd, *, settled=True, **subjects):
    at = timezone.now()
    request = actions.HoldRequest(account.pk, usd * USD, subjects)
    (hold,) = actions.place_holds([request], at=at)
    if settled:
        charge = actions.Charge(hold, new_id("run"), usd * USD)
        actions.settle_holds([charge], closing=[hold], at=at)


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


class TestTheList:
    def test_says_what_an_empty_one_means(self, client, alice, acme):
        client.force_login(alice)
        assert "There is no budget" in text_of(client.get("/budgets"))

    def test_shows_spent_set_aside_and_left_with_the_day_it_begins_anew(
        self, client, account, limit, alice
    ):
        limit("account", 10)
        spend(account, 4)
        spend(account, 3, settled=False)
        client.force_login(alice)

        text = text_of(client.get("/budgets"))

        assert "$4.00 spent · $3.00 set aside · $3.00 left" in text
        assert 'max="100" value="70"' in text
        first = timezone.now().date().replace(day=1)
        anew = (first + timedelta(days=32)).replace(day=1)
        assert f"begins anew on {anew:%-d %B}" in text

    def test_counts_what_was_spent_before_the_budget_was_made(self, account, limit, alice, acme):
        spend(account, 4, member="user_bob", model="v/m")
        spend(account, 2, member="user_eve", model="v/m")
        for scope, subject in (("account", ""), ("member", ""), ("model", "v/m"), ("model", "v/n")):
            limit(scope, 10, subject=subject)

        seen = overview.touching(factories.actor(alice, acme), at=timezone.now())

        used = {(one.name, use.subject): use.spent_nanos // USD for one in seen for use in one.uses}
        assert used == {
            ("Everything", ""): 6,
            ("Each member", "user_bob"): 4,
            ("Each member", "user_eve"): 2,
            ("v/m", "v/m"): 6,
            ("v/n", "v/n"): 0,
        }

    def test_a_member_sees_what_touches_them_and_nobody_elses_spending(
        self, client, account, limit, bob, adam
    ):
        """A1"""
        limit("account", 50)
        limit("member", 20)
        limit("member", 30, subject=bob.pk)
        limit("member", 40, subject=adam.pk)
        limit("key", 60, subject="key_of_adam")
        spend(account, 7, member=adam.pk)
        spend(account, 5, member=bob.pk)
        client.force_login(bob)

        text = text_of(client.get("/budgets"))

        assert "$50.00 a month" in text
        assert "$20.00 a month" in text
        assert "$30.00 a month" in text
        assert "$40.00 a month" not in text
        assert "key_of_adam" not in text
        assert "$7.00 spent" not in text
        assert "Adam" not in text
        assert "/remove" not in text

    def test_a_member_sees_the_budgets_of_their_own_keys_by_name(
        self, client, account, limit, bob, adam, acme
    ):
        at = timezone.now()
        of_bob, of_adam = (
            api_keys.make_key(by=factories.actor(one, acme), new=api_keys.NewKey(name), at=at).key
            for one, name in ((bob, "notebook"), (adam, "nightly"))
        )
        for key in (of_bob, of_adam):
            limit("key", 60, subject=key.pk)
            spend(account, 2, key=key.pk)
        client.force_login(bob)
        text = text_of(client.get("/budgets"))
        assert "notebook" in text
        assert "$2.00 spent" in text
        assert "nightly" not in text
        client.force_login(adam)
        assert "nightly" in text_of(client.get("/budgets"))

    def test_asks_as_much_for_many_as_for_few(
        self,
        client,
        account,
        limit,
        alice,
        django_assert_num_queries,
        django_assert_max_num_queries,
    ):
        client.force_login(alice)
        limit("model", subject="v/0")
        limit("member", subject="user_0")
        client.get("/budgets")
        with django_assert_max_num_queries(16) as few:
            client.get("/budgets")
        for number in range(1, 20):
            limit("model", subject=f"v/{number}")
            limit("member", subject=f"user_{number}")
            spend(account, 1, model=f"v/{number}", member=f"user_{number}")
        with django_assert_num_queries(len(few.captured_queries)):
            client.get("/budgets")


class TestSettingOne:
    def test_an_admin_adds_changes_and_removes(self, client, alice, acme, bob):
        client.force_login(alice)
        what = f"member:{bob.pk}"
        shown = client.get("/budgets", {"for": what})
        assert f'<option value="{what}" selected>' in shown.content.decode()

        client.post("/budgets", {"what": what, "period": "week", "limit": "12.50"})
        made = Budget.unscoped.get()
        assert (made.scope, made.subject, made.period) == ("member", bob.pk, "week")
        assert (made.limit_nanos, made.account.organization_id) == (12_500_000_000, acme.pk)

        page = f"/budgets/{made.pk}"
        assert 'value="12.5"' in client.get(page).content.decode()
        client.post(page, {"limit": "20"})
        made.refresh_from_db()
        assert made.limit_nanos == 20 * USD

        assert "Remove this budget?" in client.get(f"{page}/remove").content.decode()
        assert Budget.unscoped.exists()
        client.post(f"{page}/remove")
        assert not Budget.unscoped.exists()

    def test_a_person_limits_their_own_account(self, client, bob, acme):
        client.force_login(bob)
        client.post("/account/context", {"organization": ""})

        client.post("/budgets", {"what": "account", "period": "month", "limit": "5"})

        assert Budget.unscoped.get().account.user_id == bob.pk
        assert "member:" not in client.get("/budgets").content.decode()

    @pytest.mark.parametrize(
        "wrong",
        [
            {"limit": "-1"}, {"limit": "a"}, {"limit": "NaN"}, {"limit": "1e30"}, {"period": "year"},
            {"what": "member:user_elsewhere"}, {"what": "key:x"}, {"limit": "\0"}, {"what": "x\0"},
        ],
    )  # fmt: skip
    def test_what_makes_no_sense_is_said_beside_the_field(self, client, alice, acme, wrong):
        client.force_login(alice)
        answer = client.post(
            "/budgets", {"what": "account", "period": "month", "limit": "5", **wrong}
        )
        assert answer.status_code == 200
        assert "errorlist" in answer.content.decode()
        assert not Budget.unscoped.exists()

    @pytest.mark.parametrize("who", ["bob", "rhea"])
    def test_is_for_admins_alone(self, client, request, limit, who):
        """A1, A2"""
        made = limit("account", 10)
        client.force_login(request.getfixturevalue(who))

        fields = {"what": "account", "period": "day", "limit": "1"}
        assert client.post("/budgets", fields).status_code == 403
        for page in (f"/budgets/{made.pk}", f"/budgets/{made.pk}/remove"):
            assert client.get(page).status_code == 403
            assert client.post(page, {"limit": "99"}).status_code == 403

        made.refresh_from_db()
        assert (made.limit_nanos, Budget.unscoped.count()) == (10 * USD, 1)

    def test_one_of_another_context_is_not_found(self, client, limit, alice):
        made = limit("account", 10)
        client.force_login(alice)
        session = client.session
        session[ORGANIZATION_KEY] = ""
        session.save()
        assert client.get(f"/budgets/{made.pk}").status_code == 404


class TestTheWarningAtHome:
    def test_names_what_runs_out_to_those_whom_it_touches(
        self, client, account, limit, alice, bob, rhea
    ):
        limit("account", 100)
        limit("member", 10)
        spend(account, 7, member=bob.pk)
        client.force_login(bob)
        assert "a month" not in text_of(client.get("/"))

        spend(account, 2, member=bob.pk)

        for person, is_told in ((bob, True), (alice, True), (rhea, False)):
            client.force_login(person)
            text = text_of(client.get("/"))
            assert ("$9.00 spent of $10.00 a month" in text) is is_told, person
