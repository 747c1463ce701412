"""Settings that did not change are said to be the same without Django and without a query."""

import asyncio
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts import versions
from accounts.actors import TokenKind
from orgs import actions, documents, revalidation
from orgs.models import Membership
from roocloud.lib.fresh import forget_everything
from tests import factories

PATH = "/api/extension-settings"


class Asked(Exception):
    """Django was, or the database."""


async def never(*_, **__):
    raise Asked


def ask(etag: str, bearer: dict[str, str], *, method: str = "GET") -> dict[str, str | int]:
    """The status and headers of an answer that neither Django nor the database had a part in."""
    sent: list[dict] = []
    headers = [
        (k.lower().encode(), v.encode()) for k, v in {**bearer, "If-None-Match": etag}.items()
    ]
    scope = {"type": "http", "method": method, "path": PATH, "headers": headers}

    async def send(message):
        sent.append(message)

    asyncio.run(revalidation.application(never)(scope, never, send))
    start, end = sent
    assert end == {"type": "http.response.body", "body": b""}
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return {"status": start["status"], **found}


@pytest.fixture
def clock():
    with time_machine.travel(factories.NOON, tick=False) as clock:
        yield clock


@pytest.fixture
def bearer(clock, alice, acme):
    return factories.bearer(alice, acme)


@pytest.fixture
def etag(client, bearer):
    client.get(PATH, headers=bearer)  # the first read of a person makes their settings
    return client.get(PATH, headers=bearer)["ETag"]


def change(person, org):
    current = actions.current_revision(org)
    actions.save_settings(
        organization=org,
        document={**current.document, "hiddenMcps": ["x"]},
        read_version=current.version,
        by=factories.actor(person, org, kind=TokenKind.WEB),
        at=timezone.now(),
    )


@pytest.fixture
def without_queries(monkeypatch):
    monkeypatch.setattr(revalidation, "run_db", never)


@pytest.mark.usefixtures("without_queries")
class TestWithoutAQuery:
    def test_who_has_the_newest_is_told_so(self, client, bearer, etag):
        answer = ask(etag, bearer)
        by_django = client.get(PATH, headers={**bearer, "If-None-Match": etag})
        assert answer["status"] == by_django.status_code == 304
        for name in ("ETag", "Cache-Control", "Vary"):
            assert answer[name.lower()] == by_django[name]

    @pytest.mark.parametrize("method", ["HEAD", "POST"])
    def test_of_other_methods_nothing_is(self, bearer, etag, method):
        with pytest.raises(Asked):
            ask(etag, bearer, method=method)

    def test_another_tag_or_none_goes_to_django(self, bearer, etag):
        for other in ('"1-1"', "", "nonsense"):
            with pytest.raises(Asked):
                ask(other, bearer)

    def test_a_tag_is_good_for_its_own_context_alone(self, etag, clock, alice, bob, acme):
        """Trap 15."""
        for person, org in ((alice, None), (bob, acme)):
            with pytest.raises(Asked):
                ask(etag, factories.bearer(person, org))

    @pytest.mark.django_db(transaction=True)
    def test_a_change_in_this_process_counts_at_once(self, bearer, etag, alice, acme):
        assert ask(etag, bearer)["status"] == 304
        change(alice, acme)
        with pytest.raises(Asked):
            ask(etag, bearer)

    def test_the_newest_version_is_looked_at_every_second(self, bearer, etag, clock):
        clock.shift(timedelta(seconds=0.9))
        assert ask(etag, bearer)["status"] == 304
        clock.shift(timedelta(seconds=0.1))
        with pytest.raises(Asked):
            ask(etag, bearer)

    def test_rights_are_looked_at_every_five_seconds(self, bearer, etag, clock):
        """B4"""
        clock.shift(timedelta(seconds=5))
        versions.newest(at=timezone.now())
        with pytest.raises(Asked):
            ask(etag, bearer)


@pytest.mark.django_db(transaction=True)
class TestAfterAWhile:
    def test_the_same_is_still_the_same_without_django(self, bearer, etag, clock):
        clock.shift(timedelta(seconds=30))
        assert ask(etag, bearer)["status"] == 304

    def test_what_another_process_changed_is_noticed(self, bearer, etag, alice, acme, clock):
        change(alice, acme)
        versions._newest.put(versions._KEY, 0, at=timezone.now())  # it has not heard of it
        clock.shift(timedelta(seconds=1))
        with pytest.raises(Asked):
            ask(etag, bearer)

    def test_who_was_turned_out_is_not_answered(self, bearer, etag, alice, acme, clock):
        """B4"""
        Membership.unscoped.filter(organization=acme, user=alice).delete()
        clock.shift(timedelta(seconds=5))
        with pytest.raises(Asked):
            ask(etag, bearer)

    def test_a_tag_from_before_a_change_is_not_taken_for_one_from_after(
        self, bearer, etag, alice, acme, client, clock
    ):
        """A tag is noted under the number that stood before its parts were read."""
        change(alice, acme)
        newer = client.get(PATH, headers=bearer)["ETag"]
        assert newer != etag
        assert ask(newer, bearer)["status"] == 304
        with pytest.raises(Asked):
            ask(etag, bearer)


def test_a_first_read_of_nothing_is_zero(db):
    forget_everything()
    assert versions.newest(at=factories.NOON) == 0


def test_the_default_document_is_what_is_tagged(client, bearer, etag):
    answer = client.get(PATH, headers=bearer).json()
    assert answer["organization"] == {
        "version": answer["organization"]["version"],
        **documents.dump(documents.DEFAULT),
    }
