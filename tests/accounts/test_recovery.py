"""What a person does about their password and addresses, under every rule for sign-up."""

import re

import pytest
from allauth.account.models import EmailAddress
from django.core import mail

from tests import factories

NEW_PASSWORD = "a quite different staple"
MODES = ["open", "invitation", "closed"]


def reset(client, email, *, password=NEW_PASSWORD, following=""):
    """Walk the whole reset, through the pages' own redirects; the last answer."""
    asked = client.post("/accounts/password/reset/", {"email": email, "next": following})
    code = re.search(r"^\s*([A-Z0-9-]{6,12})\s*$", mail.outbox[-1].body, re.MULTILINE)[1]
    confirmed = client.post(asked["Location"], {"code": code})
    return client.post(confirmed["Location"], {"password1": password, "password2": password})


def log_in(client, email, password=factories.PASSWORD, **fields):
    return client.post("/accounts/login/", {"login": email, "password": password, **fields})


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
