"""From what was used to a limit on it, as an admin clicks."""

from datetime import timedelta

import pytest
from django.utils import timezone

from credits.models import Budget
from proxy import actions, catalogue
from proxy.pricing import Usage
from roocloud.lib.money import NANOS_PER_USD as USD
from tests.browser.test_access import faults
from tests.proxy.test_usage import PRICE, begin, finish

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def completed(alice, bob, acme):
    """Completions of models with long names."""
    at = timezone.now() - timedelta(days=1)
    up = actions.put_upstream(
        name="east", base_url="https://a.example/v1", api_key="k", by=None, at=at
    )
    models = (
        "anthropic/claude-sonnet-4.5",
        "vendor/a-model-with-a-name-that-is-long-2026-01-01-preview",
    )
    for name in models:
        actions.put_model(
            model_id=name, upstream=up, upstream_model="m", price=PRICE,
            facts=actions.ModelFacts(max_tokens=4000, context_window=100_000), by=None, at=at,
        )  # fmt: skip
    catalogue.forget()
    for person in (alice, bob):
        rows = finish([begin(person, acme, model=name) for name in models], Usage(9000, 999, 4500))
    return rows[0]


def test_a_number_leads_to_its_explanation_and_to_a_limit(visitor, completed, alice, acme):
    """MO6, MO12"""
    mine = visitor(bypass_csp=True)
    mine.sign_in(alice)
    for by in ("day", "member", "model", "upstream", "repository", "mode"):
        mine.go(f"/usage?of=all&by={by}")
    page = mine.go("/usage?of=all&by=model&status=done")
    mine.look("usage-narrowed")
    assert faults(page) == []
    page.click(f"a[href='/usage/{completed.pk}']")
    page.wait_for_selector("text=of the ledger")
    mine.look("completion")

    page.click("text=Set a budget for this model")
    assert page.input_value("select[name=what]") == f"model:{completed.model_id}"
    page.fill("input[name=limit]", "0.07")
    page.click("text=Set it")
    page.wait_for_selector("text=The limit is $0.07 a month")
    bar = page.query_selector("progress")
    assert int(bar.get_attribute("value")) > 0
    mine.look("budgets-one")
    assert Budget.unscoped.get().limit_nanos == 7 * USD // 100
    assert "begins anew" in mine.go("/").inner_text("main")

    mine.go("/budgets")
    page.click("a:has-text('Remove')")
    mine.look("budget-remove")
    page.click("button:has-text('Remove')")
    page.wait_for_selector("text=There is no budget")
