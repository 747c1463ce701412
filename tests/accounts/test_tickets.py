"""B1: a ticket is good once, for a minute; a second use ends the session of the first."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connections
from django.utils import timezone

from accounts import actions, editors
from accounts.models import ClientSession, Ticket
from audit.models import Entry
from tests import factories

EDITOR = editors.find("vscode://RooVeterinaryInc.roo-cline")


def issue(person, org=None, *, state="s" * 32, at=None) -> str:
    return actions.issue_ticket(
        by=factories.actor(person, org), editor=EDITOR, state=state, at=at or timezone.now()
    )


def redeem(code, *, at=None):
    return actions.redeem_ticket(code=code, user_agent="Roo-Code 3.52.1", at=at or timezone.now())


def test_a_ticket_becomes_a_session_in_the_chosen_context(alice, acme):
    made = redeem(issue(alice, acme))

    assert made.session.user == alice
    assert made.session.organization_id == acme.pk
    assert made.session.label == "VS Code"
    assert made.client_token not in made.session.client_token_hash


def test_the_ticket_itself_is_nowhere_in_the_database(alice):
    code = issue(alice)

    row = Ticket.unscoped.values().get()
    assert all(code not in str(value) for value in row.values())


def test_a_second_use_is_refused_and_ends_the_first_session(alice):
    code = issue(alice)
    made = redeem(code)

    with pytest.raises(actions.TicketRefused):
        redeem(code)

    made.session.refresh_from_db()
    assert made.session.ended_at is not None
    assert Entry.objects.filter(action="session.ended", note="its ticket was used twice").exists()


def test_a_minute_later_it_is_worthless(alice, settings):
    at = timezone.now()
    code = issue(alice, at=at)

    with pytest.raises(actions.TicketRefused):
        redeem(code, at=at + settings.ROOCLOUD_TICKET_LIFETIME)
    assert timedelta(seconds=60) >= settings.ROOCLOUD_TICKET_LIFETIME
    assert not ClientSession.unscoped.exists()


def test_a_fresh_ticket_leaves_the_one_before_its_minute(alice, settings):
    """Somebody may have copied it to an editor on another machine."""
    at = timezone.now()
    old = issue(alice, at=at)
    issue(alice, at=at + timedelta(seconds=45))

    assert redeem(old, at=at + timedelta(seconds=59)).session.ended_at is None


def test_the_first_that_is_redeemed_voids_the_others_of_its_sign_in(alice):
    old, new = issue(alice), issue(alice)
    elsewhere = issue(alice, state="t" * 32)
    made = redeem(old)

    with pytest.raises(actions.TicketRefused):
        redeem(new)

    made.session.refresh_from_db()
    assert made.session.ended_at is None
    assert redeem(elsewhere).session.ended_at is None


class TestRenewal:
    """What a hand-off page that stays open gets."""

    def renew(self, person):
        return actions.renew_ticket(
            by=factories.actor(person), editor=EDITOR, state="s" * 32, at=timezone.now()
        )

    def test_gives_fresh_tickets_until_one_is_redeemed(self, alice):
        issue(alice)
        redeem(self.renew(alice))

        assert self.renew(alice) is None

    def test_begins_anew_with_a_new_consent(self, alice):
        """An editor may sign in again with the address that it opened before."""
        redeem(issue(alice))
        again = issue(alice)

        by = factories.actor(alice)
        assert actions.redeemed_session(by=by, state="s" * 32) is None
        made = redeem(self.renew(alice))
        assert actions.redeemed_session(by=by, state="s" * 32) == made.session
        with pytest.raises(actions.TicketRefused):
            redeem(again)

    def test_is_nobody_elses(self, alice, mallory):
        redeem(issue(alice))

        assert self.renew(mallory)


def test_a_deactivated_person_gets_no_session(alice):
    code = issue(alice)
    actions.deactivate(user_id=alice.pk, at=timezone.now())

    with pytest.raises(actions.TicketRefused):
        redeem(code)


@pytest.mark.parametrize("code", ["", "x", "ticket_" + "a" * 43, "\x00", "\ud800"])
def test_unknown_tickets_read_alike(db, code):
    with pytest.raises(actions.TicketRefused, match="used already or is too old"):
        redeem(code)


def race(codes):
    """Redeem all of them at the same time; what came of each."""
    barrier = Barrier(len(codes))

    def run(code):
        barrier.wait(10)
        try:
            return redeem(code)
        except actions.TicketRefused:
            return None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(codes)) as pool:
        return [made for made in pool.map(run, codes) if made]


@pytest.mark.django_db(transaction=True)
def test_of_many_simultaneous_redemptions_one_wins(alice):
    """B1"""
    for _ in range(5):
        assert len(race([issue(alice)] * 8)) == 1
    assert ClientSession.unscoped.count() == 5
    assert not ClientSession.unscoped.alive(timezone.now()).exists()  # each was used twice


@pytest.mark.django_db(transaction=True)
def test_of_many_tickets_of_one_sign_in_one_wins(alice):
    """B1"""
    for _ in range(5):
        assert len(race([issue(alice) for _ in range(6)])) == 1
    assert ClientSession.unscoped.alive(timezone.now()).count() == 5
