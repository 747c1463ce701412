"""An upstream in the admin, as an administrator sees it."""

import re

import pytest
from django.utils import timezone

from proxy import actions
from proxy.models import LanguageModel
from tests import factories
from tests.fakes.clouds import fake_vertex
from tests.fakes.lister import KEY, fake_lister

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LISTED = [
    {"id": "acme/coder", "context_length": 200_000,
     "pricing": {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003"}},
    {"id": "acme/free", "pricing": {"prompt": "0", "completion": "0"}},
    {"id": "a-rather-long-name/of-a-model-that-nobody-priced-yet-instruct-2507-fp8", "max_model_len": 8192},
    {"id": "acme/per-call", "pricing": {"prompt": "0.000001", "completion": "0.000002", "request": "0.01"}},
]  # fmt: skip


@pytest.fixture
def upstream(live_url):
    with fake_lister() as fake:
        fake.models = {"data": LISTED}
        made = actions.put_upstream(
            name="main", base_url=fake.url, api_key=KEY, by=None, at=timezone.now()
        )
        price, facts = actions.NewPrice(2_000_000_000, 15_000_000_000), actions.ModelFacts()
        for model_id in ("acme/coder", "acme/gone"):
            actions.put_model(
                model_id=model_id, upstream=made, upstream_model=model_id, price=price, facts=facts,
                by=None, at=timezone.now(),
            )  # fmt: skip
        yield made


def test_it_is_tested_and_its_models_are_taken(visitor, upstream):
    root = factories.user("root@example.com", is_staff=True, is_superuser=True)
    mine = visitor()
    mine.sign_in(root)
    page = mine.go(f"/admin/proxy/upstream/{upstream.pk.replace('_', '_5F')}/change/")

    page.click("text=Test this upstream")
    page.wait_for_selector("text=It works.")
    page.fill("[name=model]", "acme/coder")
    page.click("text=Test again")
    page.wait_for_selector("text=acme/coder answered after")
    mine.look("upstream-test")

    page.click("#content-main >> text=Models of this upstream")
    page.wait_for_selector("text=The price changes.")
    mine.look("upstream-models")
    row = page.locator(".listing__row", has_text="nobody-priced")
    row.locator("[type=checkbox]").focus()
    page.keyboard.press("Space")
    for typed in ("0.5", "1.5"):
        page.keyboard.press("Tab")
        page.keyboard.type(typed)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 taken.")
    taken = LanguageModel.unscoped.get(model_id__startswith="a-rather-long-name")
    assert taken.prices.get().given() == (500_000_000, 1_500_000_000, None, None)

    page.click("text=Choose all on this page")
    page.wait_for_url(re.compile("chosen=all"))
    page.click("text=Take what is chosen")
    page.wait_for_selector("text=3 taken.")
    assert LanguageModel.unscoped.get(model_id="acme/coder").prices.count() == 2
    mine.look("upstream-models-after")


def test_one_at_a_cloud_says_what_is_wrong_and_what_is_open(visitor):
    root = factories.user("root@example.com", is_staff=True, is_superuser=True)
    mine = visitor()
    mine.sign_in(root)
    with fake_vertex() as fake:
        page = mine.go("/admin/proxy/upstream/add/")
        page.fill("[name=name]", "claude-google")
        page.select_option("[name=kind]", "vertex")
        page.fill("[name=base_url]", fake.url)
        page.fill("[name=api_key]", "AIzaSyA-a-plain-key")
        page.click("[name=_continue]")
        page.wait_for_selector("text=must name the project and its location")
        mine.look("upstream-at-a-cloud-refused")
        page.fill("[name=base_url]", fake.base_url)
        page.fill("[name=api_key]", fake.service_account())
        page.click("[name=_continue]")
        page.click("text=Test this upstream")
        page.wait_for_selector("text=Name a model to see whether it works.")
        mine.look("upstream-at-a-cloud-open")
        page.fill("[name=model]", "claude-text")
        page.click("text=Test again")
        page.wait_for_selector("text=It works.")
        mine.look("upstream-at-a-cloud-works")
