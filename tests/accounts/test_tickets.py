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


def test_a_fresh_ticket_of_the_same_page_voids_the_one_before(alice):
    old, new = issue(alice), issue(alice)

    with pytest.raises(actions.TicketRefused):
        redeem(old)
    assert redeem(new).session.ended_at is None


def test_a_deactivated_person_gets_no_session(alice):
    code = issue(alice)
    actions.deactivate(user_id=alice.pk, at=timezone.now())

    with pytest.raises(actions.TicketRefused):
        redeem(code)


@pytest.mark.parametrize("code", ["", "x", "ticket_" + "a" * 43, "\x00", "\ud800"])
def test_unknown_tickets_read_alike(db, code):
    with pytest.raises(actions.TicketRefused, match="used already or is too old"):
        redeem(code)


@pytest.mark.django_db(transaction=True)
def test_of_many_simultaneous_redemptions_one_wins(alice):
    """B1"""
    for _ in range(5):
        code = issue(alice)
        barrier = Barrier(8)

        def race(code=code, barrier=barrier):
            barrier.wait(10)
            try:
                return redeem(code)
            except actions.TicketRefused:
                return None
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            made = [future.result() for future in [pool.submit(race) for _ in range(8)]]

        assert sum(result is not None for result in made) == 1
    assert ClientSession.unscoped.count() == 5
    assert not ClientSession.unscoped.alive(timezone.now()).exists()  # each was used twice
