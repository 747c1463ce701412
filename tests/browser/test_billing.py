"""Billing as people click through it: a member asks for credit, the admin looks at the books."""

import pytest
from django.utils import timezone

from credits import actions, budgets
from credits.models import TopUp
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.browser.test_access import faults

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def books(alice, bob, acme):
    at = timezone.now()
    account = factories.account(alice, acme, dollars=120)
    budgets.put_budget(
        by=factories.actor(alice, acme), account=account, scope="member", subject=bob.pk,
        period="month", limit_nanos=5 * USD, at=at,
    )  # fmt: skip
    for number in range(6):
        subjects = {"member": bob.pk, "model": "anthropic/claude-sonnet-4.5"}
        request = actions.HoldRequest(account.pk, USD, subjects)
        (hold,) = actions.place_holds([request], at=at)
        if number < 4:
            charge = actions.Charge(hold, f"run_{number}", USD - number)
            actions.settle_holds([charge], closing=[hold], at=at)
        elif number == 5:
            break
    return account


def test_a_member_asks_and_the_admin_sees_why(visitor, books, bob, alice):
    mine = visitor(bypass_csp=True)
    mine.sign_in(bob)
    page = mine.go("/billing")
    page.click("text=Ask for credit")
    page.fill("[name=amount]", "25")
    page.fill("[name=reason]", "The migration of the payment service takes longer than we thought")
    mine.look("billing-ask")
    assert faults(page) == []
    page.click("button:has-text('Ask')")
    page.wait_for_selector("text=You have asked")
    assert page.query_selector("a:has-text('Ask for credit')") is None
    mine.look("billing-member")
    assert faults(page) == []

    admin = visitor(bypass_csp=True)
    admin.sign_in(alice)
    asked = TopUp.unscoped.get()
    month = f"{timezone.now():%Y-%m}"
    pages = (
        "billing",
        "billing/ledger",
        f"billing/statements/{month}",
        f"billing/requests/{asked.pk}",
    )
    for path in pages:
        page = admin.go(f"/{path}")
        assert faults(page) == [], path
        admin.look(path.replace(asked.pk, "one").replace(month, "month"))
    page.fill("[name=answer]", "Please finish with the small model")
    page.click("button:has-text('Decline')")
    page.wait_for_selector("text=The request is declined")
    asked.refresh_from_db()
    assert asked.state == "declined"
