"""From an empty server to a bill and a rotated key, as an administrator clicks, who reads no code."""

import openai
import pytest
from django.utils import timezone

from accounts import api_keys
from credits.models import Budget
from proxy.models import Completion, LanguageModel
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream
from tests.proxy.test_completions import all_settled

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
#: 600 fresh and 400 cached tokens of input at $3 and $0.30 a million, and 50 of output at $15.
COST = "$0.00267"


@pytest.fixture
def upstream():
    with fake_upstream() as fake:
        yield fake


def complete(live_url, person, org) -> None:
    """What a member does meanwhile."""
    key = api_keys.make_key(
        by=factories.actor(person, org), new=api_keys.NewKey("notebook"), at=timezone.now()
    )
    client = openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=key.secret, max_retries=0)
    with client:
        messages = [{"role": "user", "content": "Hello"}]
        client.chat.completions.create(model="acme-gateway/plain", messages=messages)
    all_settled()


def test_leads_from_a_provider_to_its_bill_and_a_new_key(
    visitor, live_url, upstream, alice, bob, acme
):
    alice.is_staff = alice.is_superuser = True
    alice.save()
    mine = visitor()
    mine.sign_in(alice)
    page = mine.page

    mine.go("/admin/")
    mine.look("way-01-admin")
    page.click(".model-upstream >> text=Add")
    mine.look("way-02-new-upstream")
    page.fill("[name=name]", "acme-gateway")
    page.fill("[name=base_url]", upstream.url)
    page.click("[name=_continue]")
    page.wait_for_selector("text=Give the key")
    mine.look("way-03-upstream-without-a-key")
    page.fill("[name=api_key]", "sk-mistyped")
    page.click("[name=_continue]")
    page.wait_for_selector("text=is kept. Test it")
    mine.look("way-04-upstream")

    page.click("text=Test this upstream")
    page.wait_for_selector("text=The key is not accepted")
    mine.look("way-05-test-fails")
    page.click("text=Change the upstream")
    page.wait_for_selector("[name=api_key]")
    page.fill("[name=api_key]", KEY)
    page.click("[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    page.click("text=Test this upstream")
    page.wait_for_selector("text=It works.")
    mine.look("way-06-test-works")

    page.click("#content-main >> text=Models of this upstream")
    page.wait_for_selector("text=No price is known")
    mine.look("way-07-models")
    row = page.locator(".listing__row", has_text="acme-gateway/plain")
    row.locator("[type=checkbox]").check()
    for name, usd in (("input-0", "3"), ("output-0", "15"), ("cache_read-0", "0.3")):
        row.locator(f"[name={name}]").fill(usd)
    page.click("text=Take what is chosen")
    page.wait_for_selector("text=1 taken.")
    mine.look("way-08-taken")
    assert LanguageModel.unscoped.get().model_id == "acme-gateway/plain"

    mine.go("/budgets")
    mine.look("way-09-budgets-without-credit")
    mine.go("/admin/credits/account/")
    mine.look("way-10-accounts")
    page.click("text=Grant credit")
    page.wait_for_selector("text=Credit is what requests")
    mine.look("way-11-grant")
    page.select_option("[name=organization]", acme.pk)
    page.fill("[name=amount]", "20")
    page.fill("[name=reason]", "November")
    page.click("button:has-text('Grant')")
    page.wait_for_selector("text=Granted $20.00")
    mine.look("way-11-granted")

    mine.go("/budgets")
    page.select_option("select[name=what]", "account")
    page.fill("input[name=limit]", "5")
    mine.look("way-12-new-budget")
    page.click("text=Set it")
    page.wait_for_selector("text=$5.00")
    mine.look("way-13-budget")
    assert Budget.unscoped.get().limit_nanos == 5 * USD

    complete(live_url, bob, acme)
    mine.go("/usage?of=all&by=member")
    page.wait_for_selector(f"text={COST}")
    mine.look("way-14-spend")
    page.click(f"a[href='/usage/{Completion.unscoped.get().pk}']")
    page.wait_for_selector("text=Why it cost that")
    mine.look("way-15-why")
    mine.go("/budgets")
    mine.look("way-16-budget-after")

    upstream.key = "sk-rotated-at-the-provider"
    mine.go("/admin/proxy/upstream/")
    mine.look("way-17-upstreams")
    page.click("text=acme-gateway")
    page.wait_for_selector("[name=api_key]")
    assert page.input_value("[name=api_key]") == ""
    assert KEY not in page.content()
    page.fill("[name=api_key]", upstream.key)
    page.click("[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    page.click("text=Test this upstream")
    page.wait_for_selector("text=It works.")
    mine.go("/admin/proxy/upstream/health/")
    mine.look("way-18-health")
    complete(live_url, bob, acme)
    assert Completion.unscoped.filter(status="done").count() == 2
