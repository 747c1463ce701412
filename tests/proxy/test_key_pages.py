"""The pages of API keys, as a browser walks them."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiKey
from credits import actions as credit
from credits import budgets
from orgs.actions import put_member, remove_member
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.proxy.test_keys import make, offer


@pytest.fixture
def models(db) -> None:
    offer("https://api.example.com/v1", "fake/plain", "fake/other")


class TestThePages:
    def secret(self, answer) -> str:
        return re.search(r'id="secret">([^<]+)<', answer.content.decode())[1]

    def fields(self, **more):
        return {"name": "notebook", "note": "", "organization": "", "limit": "", "period": "month",
                "days": "", **more}  # fmt: skip

    def test_a_key_is_made_with_everything_and_shown_once(self, client, models, bob, acme):
        client.force_login(bob)
        answer = client.post(
            "/account/keys/new",
            self.fields(
                note="for <b>CI</b>", organization=acme.pk, models=["fake/plain"], limit="2.5",
                days="30",
            ),
        )  # fmt: skip
        secret = self.secret(answer)
        assert "no-store" in answer["Cache-Control"]
        for said in ("OPENAI_API_KEY", "/proxy/v1", "curl"):
            assert said in answer.content.decode()
        key = ApiKey.unscoped.get()
        assert (key.organization_id, key.model_ids) == (acme.pk, ["fake/plain"])
        assert key.expires_at - key.created_at == timedelta(days=30)
        for page in ("/account/keys", f"/account/keys/{key.pk}"):
            text = client.get(page).content.decode()
            assert secret not in text
            assert key.secret_hash not in text
            for said in ("notebook", key.last_four, "Acme", "fake/plain", "$2.50", "never used"):
                assert said in text, (page, said)
        assert "for &lt;b&gt;CI&lt;/b&gt;" in text

    def test_the_form_says_what_is_wrong(self, client, models, rhea, bob, acme, evil):
        client.force_login(bob)
        for bad in (
            {"name": ""}, {"limit": "x"}, {"limit": "-1"}, {"limit": "NaN"}, {"days": "9"},
            {"models": ["no/such"]}, {"organization": evil.pk}, {"period": "year"},
            {"name": "x\0"},
        ):  # fmt: skip
            answer = client.post("/account/keys/new", self.fields(**bad))
            assert answer.status_code == 200
            assert 'class="errorlist"' in answer.content.decode(), bad
        client.force_login(rhea)
        answer = client.post("/account/keys/new", self.fields(organization=acme.pk))
        assert 'class="errorlist"' in answer.content.decode()
        assert not ApiKey.unscoped.exists()

    def test_the_owner_pauses_resumes_rotates_and_revokes(self, client, models, bob, acme):
        key = make(bob, acme).key
        client.force_login(bob)
        page = f"/account/keys/{key.pk}"
        assert "Paused" in client.post(f"{page}/switch", {"do": "pause"}, follow=True).text
        assert "Active" in client.post(f"{page}/switch", {"do": "resume"}, follow=True).text
        assert client.post(f"{page}/rotate", {"overlap": "9999"}).status_code == 400
        rotated = client.post(f"{page}/rotate", {"overlap": "24"})
        assert self.secret(rotated)[-4:] == ApiKey.unscoped.get().last_four
        assert "The old secret works until" in rotated.text
        assert "Revoke" in client.get(f"{page}/revoke").text
        assert ApiKey.unscoped.get().revoked_at is None
        assert "is revoked" in client.post(f"{page}/revoke", follow=True).text
        assert "No keys yet" in client.get("/account/keys").text
        assert client.get(page).status_code == 404

    def test_the_owner_edits_it(self, client, models, bob, acme):
        key = make(bob, acme, usd=5, lifetime=timedelta(days=30)).key
        client.force_login(bob)
        page = f"/account/keys/{key.pk}"
        assert f'href="{page}/edit"' in client.get(page).text
        form = client.get(f"{page}/edit").text
        for said in ('value="notebook"', 'value="5"', "as now", "fake/plain"):
            assert said in form
        fields = self.fields(name="ci", note="builds", models=["fake/other"], limit="7.5",
                             period="day", days="kept")  # fmt: skip
        shown = client.post(f"{page}/edit", fields, follow=True).text
        for said in ("ci …", "is changed", "builds", "fake/other", "$7.50", "Daily"):
            assert said in shown, said
        changed = ApiKey.unscoped.get()
        assert (changed.expires_at, changed.secret_hash) == (key.expires_at, key.secret_hash)
        client.post(f"{page}/edit", {**fields, "days": ""})
        assert ApiKey.unscoped.get().expires_at is None
        client.post(f"{page}/edit", {**fields, "days": "7", "limit": ""})
        assert ApiKey.unscoped.get().expires_at
        assert "none of its own" in client.get(page).text

    def test_the_edit_form_says_what_is_wrong(self, client, models, bob, adam, acme):
        key = make(bob, acme).key
        client.force_login(bob)
        page = f"/account/keys/{key.pk}/edit"
        for bad in ({"name": ""}, {"limit": "x"}, {"limit": "-1"}, {"models": ["no/such"]},
                    {"days": "9"}, {"period": "year"}):  # fmt: skip
            answer = client.post(page, self.fields(**{"days": "kept", **bad}))
            assert answer.status_code == 200
            assert 'class="errorlist"' in answer.text, bad
        account = credit.account_of(user_id=bob.pk, organization_id=acme.pk, at=timezone.now())
        budgets.put_budget(
            by=factories.actor(adam, acme), account=account, scope="key", subject=key.pk,
            period="month", limit_nanos=USD, at=timezone.now(),
        )  # fmt: skip
        assert "An admin of the organization has set it" in client.get(page).text
        answer = client.post(page, self.fields(name="new", days="kept", limit="99"))
        assert (answer.status_code, ApiKey.unscoped.get().name) == (302, "new")

    def test_a_key_that_has_ended_or_of_who_left_has_no_edit(
        self, client, models, bob, alice, acme
    ):
        past = timezone.now() - timedelta(days=2)
        ended = make(bob, acme, lifetime=timedelta(days=1), at=past).key
        left = make(bob, acme).key
        remove_member(
            organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        client.force_login(bob)
        for key in (ended, left):
            page = f"/account/keys/{key.pk}"
            assert "/edit" not in client.get(page).text
            assert client.get(f"{page}/edit").status_code == 409

    def test_an_admin_pauses_and_revokes_what_belongs_to_the_organization(
        self, client, models, bob, adam, acme
    ):
        key, personal = make(bob, acme).key, make(bob).key
        client.force_login(adam)
        base = f"/organizations/{acme.pk}/keys"
        assert bob.email in client.get(base).text
        assert personal.pk not in client.get(base).text
        client.post(f"{base}/{key.pk}/switch", {"do": "pause"})
        client.force_login(bob)
        mine = f"/account/keys/{key.pk}"
        assert client.post(f"{mine}/switch", {"do": "resume"}).status_code == 403
        client.force_login(adam)
        for page in (f"{base}/{personal.pk}", f"{base}/{personal.pk}/revoke"):
            assert client.post(page).status_code in (404, 405)
        assert client.get(f"{base}/{personal.pk}").status_code == 404
        client.post(f"{base}/{key.pk}/revoke")
        revoked = ApiKey.unscoped.exclude(revoked_at=None)
        assert list(revoked.values_list("pk", flat=True)) == [key.pk]

    def test_a_key_of_somebody_who_left_is_shown_as_stopped(
        self, client, models, bob, adam, alice, acme
    ):
        key = make(bob, acme).key
        remove_member(
            organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
        )
        for person, page in ((bob, "/account/keys"), (adam, f"/organizations/{acme.pk}/keys")):
            client.force_login(person)
            text = client.get(page).text
            assert key.last_four in text
            assert "no longer a member" in text

    def test_a_demoted_admin_sees_no_keys_of_others(self, client, models, bob, adam, alice, acme):
        """A4"""
        make(bob, acme)
        client.force_login(adam)
        assert client.get(f"/organizations/{acme.pk}/keys").status_code == 200
        put_member(
            organization=acme, user=adam, role="member", by=factories.actor(alice, acme),
            at=timezone.now(),
        )  # fmt: skip
        assert client.get(f"/organizations/{acme.pk}/keys").status_code == 403

    @pytest.mark.parametrize("page", ["/account/keys", "/organizations/{}/keys"])
    def test_the_lists_ask_as_much_for_many_as_for_few(
        self, client, models, alice, acme, page, django_assert_num_queries
    ):
        page = page.format(acme.pk)
        client.force_login(alice)
        for usd in (1, 2):
            make(alice, acme, usd=usd)
        client.get(page)
        with django_assert_num_queries(30, exact=False) as few:
            client.get(page)
        for usd in range(10):
            make(alice, acme, usd=usd)
        with django_assert_num_queries(len(few.captured_queries)):
            client.get(page)
