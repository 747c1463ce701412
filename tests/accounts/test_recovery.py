"""What a person does about their password and addresses, under every rule for sign-up."""

import re
import time

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import actions
from accounts.models import ClientSession
from audit.models import Entry
from tests import factories
from tests.accounts.test_tickets import issue, redeem

NEW_PASSWORD = "a quite different staple"
MODES = ["open", "invitation", "closed"]


def reset(client, email, *, password=NEW_PASSWORD, following=""):
    """Walk the whole reset, through the pages' own redirects; the last answer."""
    asked = client.post("/accounts/password/reset/", {"email": email, "next": following})
    code = re.search(r"^\s*([A-Z0-9-]{6,12})\s*$", mail.outbox[-1].body, re.MULTILINE)[1]
    confirmed = client.post(asked["Location"], {"code": code})
    return client.post(confirmed["Location"], {"password1": password, "password2": password})


def log_in(client, email, password=factories.PASSWORD, *, host="testserver"):
    fields = {"login": email, "password": password}
    return client.post("/accounts/login/", fields, headers={"Host": host})


@pytest.mark.parametrize("mode", MODES)
def test_a_password_is_reset_in_every_mode(client, alice, settings, mode):
    settings.ROOCLOUD_SIGNUP = mode

    assert reset(client, alice.email).status_code == 302

    assert log_in(client, alice.email).status_code == 200
    assert log_in(client, alice.email, NEW_PASSWORD).status_code == 302


@pytest.mark.parametrize("mode", MODES)
def test_an_address_is_added_in_every_mode(client, alice, settings, mode):
    settings.ROOCLOUD_SIGNUP = mode
    log_in(client, alice.email)

    asked = client.post("/accounts/email/", {"action_add": "", "email": "Second@acme.example"})
    client.post(asked["Location"], {"password": factories.PASSWORD})

    assert EmailAddress.objects.filter(user=alice, email="second@acme.example").exists()


@pytest.fixture
def signed_in_everywhere(alice, acme):
    """An editor, a command line and a job of alice's."""
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    return [factories.client_session(alice, kind)[0] for kind in ("editor", "cli", "job")]


def alive() -> int:
    return ClientSession.unscoped.alive(timezone.now()).count()


class TestAfterACredentialChanged:
    """B7: whoever else may be signed in goes, or can be sent."""

    def test_a_reset_ends_everything_else(self, client, alice, bob, signed_in_everywhere):
        elsewhere = Client()
        log_in(elsewhere, alice.email)
        ticket = issue(alice)
        bobs, _ = factories.client_session(bob)

        reset(client, alice.email)

        assert list(ClientSession.unscoped.alive(timezone.now())) == [bobs]
        assert elsewhere.get("/account").status_code == 302
        with pytest.raises(actions.TicketRefused):
            redeem(ticket)
        assert Entry.objects.filter(action="user.password_reset", target_id=alice.pk).exists()
        assert "password" in mail.outbox[-1].subject.lower()

    def test_a_reset_in_a_browser_that_is_signed_in_works_too(self, client, alice):
        log_in(client, alice.email)

        assert reset(client, alice.email).status_code == 302

        assert client.get("/account").status_code == 302

    def test_a_changed_password_offers_to_end_them(self, client, alice, signed_in_everywhere):
        log_in(client, alice.email)
        fields = {
            "oldpassword": factories.PASSWORD,
            "password1": NEW_PASSWORD,
            "password2": NEW_PASSWORD,
        }

        page = client.post("/accounts/password/change/", fields, follow=True)

        assert b'<a href="/account/devices/end-all">' in page.content
        assert alive() == 3
        assert mail.outbox[-1].to == [alice.email]
        client.post("/account/devices/end-all")
        assert alive() == 0

    def test_so_does_a_changed_address(self, client, alice, signed_in_everywhere):
        second = EmailAddress.objects.create(user=alice, email="second@acme.example", verified=True)
        log_in(client, alice.email)
        change = {"action_primary": "", "email": second.email}
        asked = client.post("/accounts/email/", change)

        page = client.post(asked["Location"], {"password": factories.PASSWORD}, follow=True)

        alice.refresh_from_db()
        assert alice.email == second.email
        assert b'<a href="/account/devices/end-all">' in page.content
        assert mail.outbox[-1].to == ["alice@acme.example"]  # the address that was

    @pytest.mark.django_db(transaction=True)  # allauth says so on commit
    def test_and_a_second_factor(self, client, alice, signed_in_everywhere):
        log_in(client, alice.email)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        form = client.get("/accounts/2fa/totp/activate/").context["form"]
        code = format_hotp_value(hotp_value(form.secret, int(time.time()) // 30))

        page = client.post("/accounts/2fa/totp/activate/", {"code": code}, follow=True)

        assert page.content.count(b'<a href="/account/devices/end-all">') == 1


class TestNames:
    """Nothing that leaves this server speaks of example.com."""

    def test_mail_carries_the_product_and_the_public_host(self, client, alice, settings):
        settings.ROOCLOUD_PRODUCT_NAME = "Acme Cloud"
        settings.ROOCLOUD_PUBLIC_URL = "https://cloud.acme.example"

        reset(client, alice.email)

        body = mail.outbox[0].body
        assert "Hello from Acme Cloud!" in body
        assert "cloud.acme.example" in body
        assert "example.com" not in body

    def test_a_passkey_is_listed_under_the_product(self, client, alice, settings):
        settings.ROOCLOUD_PRODUCT_NAME = "Acme Cloud"
        log_in(client, alice.email)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})

        page = client.get("/accounts/2fa/webauthn/add/").content.decode()

        assert "Acme Cloud" in re.search(r'"rp":\s*\{[^}]*\}', page)[0]


def test_guesses_are_counted_whatever_name_the_server_is_called_by(client, alice):
    """B6"""
    for number in range(5):
        host = ("localhost", "127.0.0.1")[number % 2]
        log_in(client, alice.email, "wrong", host=host)

    assert b"Too many failed" in log_in(client, alice.email, host="localhost").content
