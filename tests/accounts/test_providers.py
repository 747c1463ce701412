"""Sign-in by other providers: what is switched on, and whose account it opens (B7)."""

import os
import runpy
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.utils import timezone

from orgs.actions import invite
from tests import factories
from tests.fakes.issuer import fake_issuer

ROOT = Path(__file__).resolve().parents[2]
LOGIN = "/accounts/oidc/oidc/login/"


@pytest.fixture
def issuer(settings):
    with fake_issuer() as issuer:
        settings.SOCIALACCOUNT_PROVIDERS = issuer.apps
        yield issuer


def trust(issuer, settings) -> None:
    """As ROOCLOUD_TRUSTED_PROVIDERS=oidc does."""
    apps = issuer.apps
    apps["openid_connect"]["APPS"][0]["settings"]["email_authentication"] = True
    settings.SOCIALACCOUNT_PROVIDERS = apps


def walk(client, path=LOGIN):
    """Press the provider's button, let the issuer answer, come back; the last answer."""
    page = client.post(path)
    target = page.context["url"]
    issuer = HTTPConnection(urlsplit(target).netloc, timeout=10)
    issuer.request("GET", target)
    back = urlsplit(issuer.getresponse().getheader("Location"))
    issuer.close()
    return client.get(f"{back.path}?{back.query}")


def who(client) -> str | None:
    return client.get("/account").context and client.get("/account").context["user"].email


class TestWithoutProviders:
    @pytest.mark.parametrize(
        "path", ["github/login/", "github/login/callback/", "google/login/", "google/login/callback/",
                 "google/login/token/", "oidc/oidc/login/", "oidc/oidc/login/callback/"],
    )  # fmt: skip
    def test_their_routes_are_not_there(self, client, db, path):
        for ask in (client.get, client.post):
            assert ask(f"/accounts/{path}").status_code == 404

    def test_no_page_speaks_of_them(self, client, alice):
        assert b"Or sign in with" not in client.get("/accounts/login/").content
        client.force_login(alice)
        assert b"Connected accounts" not in client.get("/account").content


ENVIRONMENTS = {
    "github": {"ROOCLOUD_GITHUB_CLIENT_ID": "id"},
    "google": {"ROOCLOUD_GOOGLE_CLIENT_ID": "id"},
    "openid_connect": {"ROOCLOUD_OIDC_CLIENT_ID": "id", "ROOCLOUD_OIDC_ISSUER": "https://sso.example/"},
}  # fmt: skip


@pytest.mark.parametrize("on", [[], ["github"], ["google"], ["openid_connect"]])
def test_a_provider_is_switched_on_by_its_client_id(tmp_path, monkeypatch, on):
    with monkeypatch.context() as patch:
        for name in os.environ:
            patch.delenv(name)
        patch.setenv("ROOCLOUD_DATA_DIR", str(tmp_path))
        for provider in on:
            for name, value in ENVIRONMENTS[provider].items():
                patch.setenv(name, value)
        made = runpy.run_path(str(ROOT / "roocloud" / "settings.py"))

    assert sorted(made["SOCIALACCOUNT_PROVIDERS"]) == on
    for provider in ("github", "google"):
        app = f"allauth.socialaccount.providers.{provider}"
        assert (app in made["INSTALLED_APPS"]) == (provider in on)


def test_what_is_switched_on_has_its_routes(tmp_path):
    script = """
import django
django.setup()
from django.urls import reverse
print(reverse("github_login"), reverse("google_login"), reverse("openid_connect_login", args=["oidc"]))
"""
    env = {name: value for one in ENVIRONMENTS.values() for name, value in one.items()}
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "ROOCLOUD_DATA_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "roocloud.settings",
            **env,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [
        f"/accounts/{path}/login/" for path in ("github", "google", "oidc/oidc")
    ]


class TestWhoseAccount:
    def test_a_form_that_leaves_ends_in_a_page_and_not_in_a_redirect(self, client, db, issuer):
        """The CSP's form-action forbids the redirect."""
        page = client.post(LOGIN)

        assert page.status_code == 200
        assert page.context["url"].startswith(f"{issuer.url}/authorize?")
        asked = parse_qs(urlsplit(page.context["url"]).query)
        assert asked["redirect_uri"] == [f"http://testserver{LOGIN}callback/"]
        assert b"follow-link" in page.content

    def test_a_new_person_gets_an_account_where_sign_up_is_open(self, client, db, issuer, settings):
        settings.ROOCLOUD_SIGNUP = "open"
        walk(client)
        assert who(client) == "nora@new.example"

    def test_and_none_where_it_is_closed(self, client, db, issuer, settings):
        settings.ROOCLOUD_SIGNUP = "closed"
        assert b"by invitation" in walk(client).content
        assert who(client) is None

    @pytest.mark.parametrize(
        ("email", "is_verified", "opens"),
        [
            ("nora@new.example", True, True),
            ("nora@new.example", False, False),
            ("else@new.example", True, False),
        ],
    )
    def test_an_invitation_admits_its_verified_address_alone(
        self, client, alice, acme, issuer, settings, email, is_verified, opens
    ):
        """B7"""
        settings.ROOCLOUD_SIGNUP = "invitation"
        _, secret = invite(
            organization=acme,
            email="nora@new.example",
            role="member",
            by=factories.actor(alice, acme),
            at=timezone.now(),
        )
        client.get(f"/invitations/{secret}")
        issuer.person.update(email=email, email_verified=is_verified)

        walk(client)

        assert who(client) == (email if opens else None)

    def test_the_account_of_the_same_address_is_not_opened_by_an_untrusted_provider(
        self, client, alice, issuer
    ):
        issuer.person["email"] = alice.email
        EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)

        walk(client)

        assert who(client) is None
        assert not SocialAccount.objects.exists()

    @pytest.mark.parametrize(
        ("they_verified", "we_verified", "opens"),
        [(True, True, True), (False, True, False), (True, False, False)],
    )
    def test_a_trusted_one_opens_it_if_both_sides_have_verified_the_address(
        self, client, alice, issuer, settings, they_verified, we_verified, opens
    ):
        """B7"""
        trust(issuer, settings)
        issuer.person.update(email=alice.email, email_verified=they_verified)
        EmailAddress.objects.create(
            user=alice, email=alice.email, verified=we_verified, primary=True
        )

        walk(client)

        assert who(client) == (alice.email if opens else None)
        bound = SocialAccount.objects.filter(user=alice, uid="sub-1").exists()
        assert bound is opens
        if opens:  # from now on by its id, whatever its address
            client.logout()
            issuer.person["email"] = "else@new.example"
            walk(client)
            assert who(client) == alice.email

    def test_an_account_without_its_provider_can_still_be_looked_at(self, client, alice, settings):
        SocialAccount.objects.create(user=alice, provider="github", uid="1")
        client.force_login(alice)

        page = client.get("/accounts/3rdparty/")

        assert page.status_code == 200
        assert b"github" in page.content

    def test_nor_does_disconnecting_it_fail(self, client, alice):
        account = SocialAccount.objects.create(user=alice, provider="github", uid="1")
        client.force_login(alice)

        page = client.post("/accounts/3rdparty/", {"account": account.pk})

        assert b"switched off" in page.content

    @pytest.mark.parametrize("url", ["{}/nowhere", "http://127.0.0.1:1"])
    def test_an_issuer_that_does_not_answer_gets_a_page_that_says_so(
        self, client, db, issuer, settings, url
    ):
        issuer.url = url.format(issuer.url)
        settings.SOCIALACCOUNT_PROVIDERS = issuer.apps

        page = client.post(LOGIN)

        assert page.status_code == 502
        assert b"did not work" in page.content
