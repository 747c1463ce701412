"""L4: staff need a second factor."""

import time

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP

from tests import factories
from tests.accounts.test_second_factors import code_of

SECRET = "JBSWY3DPEHPK3PXP"
PAGES = ("/admin/", "/admin/accounts/user/", "/audit", "/audit.csv")


@pytest.fixture
def root(db, settings):
    settings.ROOCLOUD_STAFF_MFA = True
    made = factories.user("root@example.com", is_staff=True, is_superuser=True)
    EmailAddress.objects.create(user=made, email=made.email, verified=True, primary=True)
    return made


def sign_in(client):
    fields = {"login": "root@example.com", "password": factories.PASSWORD}
    return client.post("/accounts/login/", fields)


def refused(client) -> set[str]:
    """Where the pages of the administration lead to."""
    landings = set()
    for path in PAGES:
        answer = client.get(path, follow=True)
        assert answer.redirect_chain, path
        landings.add(answer.redirect_chain[-1][0].partition("?")[0])
    return landings


def test_who_has_none_is_led_to_where_one_is_added(client, root):
    sign_in(client)
    landed = client.get("/admin/", follow=True)
    assert "The administration needs a second factor." in landed.content.decode()
    assert refused(client) == {"/accounts/2fa/"}
    assert client.post("/admin/accounts/user/", {"action": "x"}).status_code == 302


def test_who_showed_it_at_sign_in_gets_in(client, root):
    TOTP.activate(root, SECRET)
    sign_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": code_of(SECRET)})

    assert [client.get(path).status_code for path in PAGES] == [200] * 4


def test_a_sign_in_of_before_has_to_show_it(client, root):
    """Also one that somebody else holds."""
    sign_in(client)
    TOTP.activate(root, SECRET)
    assert refused(client) == {"/accounts/2fa/reauthenticate/"}

    back = client.post("/accounts/2fa/reauthenticate/?next=/admin/", {"code": code_of(SECRET)})

    assert back["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_who_takes_it_away_is_out_again(client, root):
    factor = TOTP.activate(root, SECRET)
    sign_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": code_of(SECRET)})
    assert client.get("/admin/").status_code == 200

    factor.instance.delete()

    assert refused(client) == {"/accounts/2fa/"}


def test_a_session_without_a_factor_of_its_own_is_not_enough(client, root):
    """A record that says so, of a person who has no factor."""
    client.force_login(root)
    session = client.session
    session["account_authentication_methods"] = [{"method": "mfa", "at": time.time()}]
    session["account_authentication_methods_user"] = str(root.pk)
    session.save()

    assert refused(client) == {"/accounts/2fa/"}


def test_nobody_is_impersonated():
    """No route and no action of the admin signs anybody in as somebody else."""
    from django.contrib import admin

    from tests.routes import walk

    words = ("impersonat", "hijack", "login_as", "login-as", "sudo", "become")
    names = [route.path for route in walk()]
    for site_admin in admin.site._registry.values():
        names += [str(action) for action in site_admin.actions or ()]
    assert [name for name in names if any(word in name.lower() for word in words)] == []
