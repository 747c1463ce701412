"""Single sign-on by an organization's own issuer; B7, K1, I2."""

from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth import get_user_model
from django.utils import timezone

from accounts.issuers import BadAnswer, IssuerSession
from audit.models import Entry
from orgs import actions
from orgs.models import Domain, Membership, SingleSignOn
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.refusals import Forbidden, InvalidInput
from tests import factories
from tests.fakes.issuer import CLIENT, SECRET, fake_issuer
from tests.fakes.loopback import on_loopback


@pytest.fixture
def issuer(settings):
    settings.ROOCLOUD_SIGNUP = "closed"
    with fake_issuer() as issuer:
        issuer.person.update(email="nora@acme.example", email_verified=False)
        yield issuer


def put(org, by, issuer, **changed):
    facts = {"issuer": issuer.url, "client_id": CLIENT, "secret": SECRET, **changed}
    actions.put_single_sign_on(
        organization=org, by=factories.actor(by, org), at=timezone.now(), **facts
    )


@pytest.fixture
def sign_on(issuer, alice, acme):
    """acme's, which speaks for acme.example."""
    at = timezone.now()
    Domain.unscoped.create(
        organization=acme, name="acme.example", token="t", created_at=at, verified_at=at
    )
    put(acme, alice, issuer)
    return issuer


def login_path(org) -> str:
    return f"/accounts/oidc/sso-{org.pk}/login/"


def walk(client, org, query=""):
    """Press the button, let the issuer answer, come back; the last answer."""
    target = client.post(login_path(org) + query).context["url"]
    connection = HTTPConnection(urlsplit(target).netloc, timeout=10)
    connection.request("GET", target)
    back = urlsplit(connection.getresponse().getheader("Location"))
    connection.close()
    return client.get(f"{back.path}?{back.query}")


def who(client) -> str | None:
    return client.get("/account").context and client.get("/account").context["user"].email


def role_of(email, org):
    rows = Membership.unscoped.filter(user__email=email, organization=org)
    return rows.values_list("role", flat=True).first()


def verified(user, email=None):
    EmailAddress.objects.create(user=user, email=email or user.email, verified=True, primary=True)
    return user


class TestSigningIn:
    def test_leads_from_an_address_to_an_account_and_a_membership(self, client, sign_on, acme):
        """B7: bound to the issuer's ``sub``; the address is proven, as the domain is."""
        found = client.post("/accounts/sign-on/", {"email": "nora@acme.example"})
        assert found["Location"] == login_path(acme)
        walk(client, acme)
        assert who(client) == "nora@acme.example"
        assert role_of("nora@acme.example", acme) == "member"
        bound = SocialAccount.objects.get()
        assert (bound.provider, bound.uid) == (f"sso-{acme.pk}", "sub-1")
        assert EmailAddress.objects.get(user=bound.user).verified

    def test_is_of_no_use_for_other_addresses(self, client, sign_on, acme):
        for email in ("x@evil.example", "x@gmail.com", "x@sub.acme.example"):
            answer = client.post("/accounts/sign-on/", {"email": email})
            assert answer.status_code == 400
            assert email.encode() in answer.content
            assert b"No organization here" in answer.content

    @pytest.mark.parametrize(
        "email", ["mallory@evil.example", "a@sub.acme.example", "a@acme.example.evil.example"]
    )
    def test_opens_nobodys_account_elsewhere(self, client, sign_on, mallory, acme, email):
        """B7: though the issuer says that it has verified the address, and though it is verified
        here."""
        if email == mallory.email:
            verified(mallory)
        sign_on.person.update(email=email, email_verified=True)
        answer = walk(client, acme)
        assert answer.status_code == 403
        assert b"addresses at acme.example alone" in answer.content
        assert who(client) is None
        assert not SocialAccount.objects.exists()
        assert not get_user_model().objects.filter(email=email).exclude(pk=mallory.pk).exists()

    @pytest.mark.parametrize("is_verified", [True, False])
    def test_opens_an_account_that_has_verified_the_address(
        self, client, sign_on, bob, acme, is_verified
    ):
        """B7: else whoever signed up with it would be waiting in there."""
        EmailAddress.objects.create(user=bob, email=bob.email, verified=is_verified, primary=True)
        sign_on.person["email"] = bob.email
        walk(client, acme)
        assert who(client) == (bob.email if is_verified else None)
        assert SocialAccount.objects.filter(user=bob).exists() is is_verified

    def test_is_connected_to_an_account_with_that_address_alone(
        self, client, sign_on, bob, mallory, acme
    ):
        """B7"""
        verified(mallory)
        client.force_login(mallory)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        assert walk(client, acme, "?process=connect").status_code == 403
        assert not SocialAccount.objects.exists()

    def test_speaks_for_nobody_without_a_proven_domain(self, client, sign_on, acme):
        Domain.unscoped.update(verified_at=None)
        assert walk(client, acme).status_code == 403
        assert client.post("/accounts/sign-on/", {"email": "nora@acme.example"}).status_code == 400

    def test_does_not_bring_back_who_was_taken_out(self, client, sign_on, alice, acme):
        walk(client, acme)
        nora = get_user_model().objects.get(email="nora@acme.example")
        by = factories.actor(alice, acme)
        actions.remove_member(organization=acme, user_id=nora.pk, by=by, at=timezone.now())
        client.logout()
        walk(client, acme)
        assert who(client) == "nora@acme.example"
        assert role_of("nora@acme.example", acme) is None

    def test_is_not_there_for_others(self, client, sign_on, acme, evil):
        for name in (f"sso-{evil.pk}", "sso-", "sso-x", "sso"):
            assert client.post(f"/accounts/oidc/{name}/login/").status_code == 404
        assert b"sso-" not in client.get("/accounts/login/").content

    def test_ends_with_another_issuer(self, client, sign_on, alice, acme):
        """B7: another issuer may give the same ``sub`` to somebody else."""
        walk(client, acme)
        put(acme, alice, sign_on, client_id="another")
        assert not SocialAccount.objects.exists()
        put(acme, alice, sign_on)
        actions.remove_single_sign_on(
            organization=acme, by=factories.actor(alice, acme), at=timezone.now()
        )
        assert client.post(login_path(acme)).status_code == 404


class TestTheIssuer:
    """What an owner names is asked by the rules of everything outbound (K1)."""

    def test_is_not_asked_at_an_address_of_ours(self, client, sign_on, alice, acme, settings):
        settings.ROOCLOUD_INTERNAL_NETWORKS = []
        with pytest.raises(InvalidInput, match="cannot be asked") as refused:
            put(acme, alice, sign_on)
        assert refused.value.field == "issuer"
        assert client.post(login_path(acme)).status_code == 502

    @pytest.mark.parametrize(
        "answer",
        [
            web.Response(status=302, headers={"Location": "http://169.254.169.254/"}),
            web.Response(status=500), web.Response(text="<html>"), web.json_response([]),
            web.json_response({"issuer": 1}), web.Response(body=b"x" * (2**20 + 1)),
        ],
        ids=["elsewhere", "down", "html", "list", "numbers", "large"],
    )  # fmt: skip
    def test_that_makes_no_sense_is_refused(self, alice, acme, answer):
        async def answering(_request):
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

        app = web.Application()
        app.add_routes([web.get("/{any:.*}", answering)])
        with on_loopback(app) as url, pytest.raises(BadAnswer):
            IssuerSession().get(f"{url}/.well-known/openid-configuration")

    @pytest.mark.parametrize(
        "claims", [{"email": None}, {"email": ["a"]}, {"sub": None}, {"email": 1, "sub": 2}]
    )
    def test_that_says_nonsense_of_a_person_gets_a_page(self, client, sign_on, acme, claims):
        """F5: never a 5xx of ours."""
        sign_on.person.update(claims)
        assert walk(client, acme).status_code == 502
        assert not SocialAccount.objects.exists()

    def test_is_reached_over_https_in_production(self, settings):
        settings.PRODUCTION = True
        with pytest.raises(BadAnswer, match="https"):
            IssuerSession().get("http://sso.example/.well-known/openid-configuration")


class TestThePage:
    @pytest.fixture
    def page(self, client, alice, acme):
        client.force_login(alice)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        return f"/organizations/{acme.pk}/single-sign-on"

    def test_stores_the_secret_and_shows_it_to_nobody(self, client, page, issuer, acme):
        """I2"""
        sent = {"do": "save", "issuer": f"{issuer.url}/", "client_id": CLIENT, "secret": SECRET}
        client.post(page, sent)
        row = SingleSignOn.unscoped.get()
        assert (row.issuer, row.secret()) == (issuer.url, SECRET)
        assert SECRET not in row.sealed_secret
        shown = client.get(page).content.decode()
        assert SECRET not in shown
        assert f"{login_path(acme)}callback/" in shown
        client.post(page, {**sent, "secret": ""})
        assert SingleSignOn.unscoped.get().secret() == SECRET
        assert SECRET not in str(list(Entry.objects.values_list("before", "after")))
        row.issuer = "https://evil.example"
        with pytest.raises(CannotUnseal):
            row.secret()
        client.post(page, {"do": "remove"})
        assert not SingleSignOn.unscoped.exists()

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"issuer": "javascript:x"}, b"is not a URL"),
            ({"issuer": "http://127.0.0.1:1"}, b"cannot be asked"),
            ({"secret": ""}, b"has a secret of its own"),
            ({"client_id": ""}, b"This field is required"),
        ],
    )
    def test_keeps_what_was_typed_and_says_what_is_wrong(self, client, page, issuer, changed, said):
        sent = {"do": "save", "issuer": issuer.url, "client_id": "typed", "secret": SECRET}
        answer = client.post(page, {**sent, **changed})
        assert answer.status_code == 400
        assert said in answer.content
        assert b"typed" in answer.content or "client_id" in changed
        assert SECRET.encode() not in answer.content
        assert not SingleSignOn.unscoped.exists()

    def test_is_for_owners_with_a_fresh_sign_in(self, client, page, issuer, alice, adam, acme):
        """A4"""
        sent = {"do": "save", "issuer": issuer.url, "client_id": CLIENT, "secret": SECRET}
        client.force_login(adam)
        assert client.get(page).status_code == 403
        assert client.post(page, sent).status_code == 403
        with pytest.raises(Forbidden):
            put(acme, adam, issuer)
        client.logout()
        client.force_login(alice)
        assert "/accounts/reauthenticate/" in client.post(page, sent)["Location"]
        assert not SingleSignOn.unscoped.exists()
