"""The list of members: what each spent, when they were last active, who may know."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiKey, ClientSession, User
from orgs.models import Membership
from proxy.models import UsageDay
from roocloud.lib.money import NANOS_PER_USD
from tests import factories


def spend(person, org, dollars, *, on):
    UsageDay.unscoped.create(
        day=on, organization_id=org.pk, user_id=person.pk, model_id=f"m/{on}", upstream_name="east",
        completions=1, failed=0, prompt_tokens=0, cache_read_tokens=0, cache_write_tokens=0,
        completion_tokens=0, cost_nanos=dollars * NANOS_PER_USD,
    )  # fmt: skip


@pytest.fixture
def spent(bob, rhea, acme, evil):
    today = datetime.now(UTC).date()
    spend(bob, acme, 3, on=today.replace(day=1))
    spend(bob, acme, 40, on=today.replace(day=1) - timedelta(days=1))
    spend(bob, evil, 50, on=today)
    spend(rhea, acme, 7, on=today)


def line(page: bytes, email: str) -> str:
    return next(li for li in page.decode().split("<li>")[1:] if email in li)


class TestTheListOfMembers:
    def test_tells_admins_what_each_spent_here_this_month(self, client, adam, acme, spent):
        client.force_login(adam)
        page = client.get(f"/organizations/{acme.pk}").content
        assert "$3.00 this month" in line(page, "bob@")
        assert "$7.00 this month" in line(page, "rhea@")
        assert "$0.00 this month" in line(page, "alice@")

    def test_tells_members_of_themselves_alone(self, client, bob, acme, spent):
        """A1: what colleagues spend is for admins."""
        client.force_login(bob)
        page = client.get(f"/organizations/{acme.pk}").content
        assert "$3.00 this month" in line(page, "bob@")
        assert "this month" not in line(page, "rhea@")
        assert b"$7.00" not in page

    def test_tells_when_an_editor_or_a_key_was_last_used_here(self, client, adam, bob, rhea, acme):
        session, _ = factories.client_session(bob, organization_id=acme.pk)
        factories.client_session(bob)
        key = factories.api_key(rhea, acme).key
        at = datetime(2026, 5, 4, 12, tzinfo=UTC)
        ClientSession.unscoped.filter(pk=session.pk).update(last_seen_at=at)
        ApiKey.unscoped.filter(pk=key.pk).update(last_used_at=at + timedelta(days=1))
        client.force_login(adam)
        page = client.get(f"/organizations/{acme.pk}").content
        assert ">4 May 2026<" in line(page, "bob@")
        assert ">5 May 2026<" in line(page, "rhea@")
        assert "not active yet" in line(page, "alice@")

    def test_finds_by_every_word(self, client, alice, acme):
        client.force_login(alice)
        path = f"/organizations/{acme.pk}"
        found = client.get(path, {"q": "ARCH alice@"}).content
        assert b"1 of the members match" in found
        assert b"bob@" not in found
        nobody = client.get(path, {"q": "<b>zz"}).content
        assert b"Nobody here is called that" in nobody
        assert b"<b>zz" not in nobody

    def test_asks_as_much_for_two_hundred_as_for_four(
        self, client, alice, acme, django_assert_num_queries, django_assert_max_num_queries
    ):
        client.force_login(alice)
        path = f"/organizations/{acme.pk}"
        client.get(path)
        with django_assert_max_num_queries(20) as few:
            client.get(path)
        people = User.objects.bulk_create(User(email=f"m{n}@acme.example") for n in range(196))
        at = timezone.now()
        Membership.unscoped.bulk_create(
            Membership(organization=acme, user=one, role="member", created_at=at, updated_at=at)
            for one in people
        )
        with django_assert_num_queries(len(few.captured_queries)):
            first = client.get(path).content
        assert b"200 members" in first
        assert b"Page 1 of 4" in first
        last = client.get(path, {"page": 4}).content
        assert b"rhea@" in last
        assert last.count(b"this month") == 50
