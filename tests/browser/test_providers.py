"""Sign-in by another provider: the whole exchange with an OpenID Connect issuer."""

import pytest

from tests import factories
from tests.browser.test_round import SIGN_IN, log_in
from tests.fakes.issuer import fake_issuer

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def issuer(settings):
    with fake_issuer() as issuer:
        settings.SOCIALACCOUNT_PROVIDERS = issuer.apps
        yield issuer


def test_a_new_person_signs_in_by_a_provider_and_lands_where_they_were_going(visitor, issuer):
    one = visitor()
    one.elsewhere.append(issuer.url)
    page = one.go(SIGN_IN)
    one.look("login-with-provider")
    page.click("button:has-text('Acme SSO')")

    page.wait_for_url("**/extension/sign-in?**")

    assert "nora@new.example" in page.inner_text("main")
    assert "VS Code" in page.inner_text("main")


def test_a_person_connects_a_provider_and_signs_in_by_it(visitor, issuer, alice):
    one = visitor()
    one.elsewhere.append(issuer.url)
    page = one.go("/account")
    log_in(one, alice)
    page.click("text=Connected accounts")
    one.look("connected-accounts-none")
    page.click("button:has-text('Acme SSO')")
    page.fill("input[name=password]", factories.PASSWORD)
    page.click("button:has-text('Confirm')")
    page.wait_for_selector(".choice:has-text('nora@new.example')")
    one.look("connected-accounts-one")

    other = visitor()
    other.elsewhere.append(issuer.url)
    page = other.go("/accounts/oidc/oidc/login/?next=/account")
    page.click("button:has-text('Continue')")
    page.wait_for_url("**/account")

    assert alice.email in page.inner_text("main")
