"""The account's pages: what a person does to leave, and axe-core on all of them."""

import pytest
from allauth.account.models import EmailAddress

from accounts.models import Erasure
from tests import factories
from tests.browser.test_access import faults

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGES = (
    "/account", "/account/notifications", "/account/data", "/account/data/export",
    "/account/data/erase", "/account/devices", "/account/keys", "/account/tokens/new",
    "/accounts/email/", "/accounts/password/change/", "/accounts/2fa/",
    "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/", "/accounts/2fa/webauthn/add/",
    "/accounts/reauthenticate/",
)  # fmt: skip


@pytest.fixture
def mine(visitor, bob, acme, live_url):
    """A browser in which bob has just signed in, whose address is verified."""
    EmailAddress.objects.create(user=bob, email=bob.email, verified=True, primary=True)
    one = visitor(bypass_csp=True)
    page = one.go("/accounts/login/")
    page.get_by_label("Email").fill(bob.email)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Hello, Bob").wait_for()
    return one


def test_a_person_asks_to_be_deleted_and_takes_it_back(mine, bob):
    page = mine.go("/account")
    page.get_by_role("link", name="My data").click()
    page.get_by_role("link", name="Delete my account").click()
    page.get_by_label("Your e-mail address").fill("somebody@acme.example")
    page.get_by_role("button", name="Delete my account").click()
    page.get_by_text("This is not the address of your account").wait_for()
    page.get_by_label("Your e-mail address").fill(bob.email)
    page.get_by_role("button", name="Delete my account").click()
    page.get_by_role("button", name="Keep my account").wait_for()
    mine.look("account-data-asked")
    assert Erasure.unscoped.get().user_id == bob.pk
    page.get_by_role("button", name="Keep my account").click()
    page.get_by_text("Your account stays as it is").wait_for()
    assert not Erasure.unscoped.exists()

    page.get_by_role("link", name="Download my data").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename == "my-data.ndjson"


def test_no_page_of_the_account_has_a_serious_fault(mine):
    wrong = {}
    for path in PAGES:
        page = mine.go(path)
        if "next=" in page.url:
            page.get_by_label("Password").fill(factories.PASSWORD)
            page.get_by_role("button", name="Confirm").click()
            mine.look(path)
        assert page.url.endswith(path), path
        if found := faults(page):
            wrong[path] = found
    assert wrong == {}
