"""L4: sign-ins and changes of credentials are on the trail."""

import pytest
from allauth.mfa import signals as mfa_signals
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import AnonymousUser

from audit.models import Entry
from tests import factories


@pytest.fixture
def sign_in(client, alice):
    def attempt(password=factories.PASSWORD, email=alice.email):
        return client.post("/accounts/login/", {"login": email, "password": password})

    return attempt


def noted() -> list[tuple[str, str, str]]:
    """(action, whether an actor is known, the object) of each, oldest first."""
    rows = Entry.objects.filter(target_kind="user").order_by("at")
    return [(row.action, row.actor_id, row.target_id) for row in rows]


def test_a_sign_in_says_by_what(sign_in, alice):
    assert sign_in().status_code == 302

    entry = Entry.objects.get(action="user.signed_in")
    assert (entry.actor_id, entry.target_id, entry.after) == (
        alice.pk,
        alice.pk,
        {"by": ["password"]},
    )
    assert entry.network == "127.0.0.0/24"


def test_a_failure_is_noted_without_what_was_typed(sign_in, alice):
    """I1"""
    sign_in("canary-password")
    sign_in("canary-password", email="canary-password@nobody.example")

    failed = ("user.sign_in_failed", "")
    assert noted() == [(*failed, alice.pk), (*failed, "-")]
    assert "canary" not in str(list(Entry.objects.values()))


def test_an_account_that_is_tried_too_often_is_noted_as_locked_once(sign_in, alice):
    """B6"""
    for _ in range(12):
        sign_in("wrong")
    assert sign_in().status_code == 200, "although the password is right"

    actions = [action for action, _, _ in noted()]
    assert actions.count("user.locked_out") == 1
    assert actions.count("user.sign_in_failed") < 12


def test_a_changed_password_is_noted(client, sign_in):
    sign_in()
    new = "another horse"
    client.post(
        "/accounts/password/change/",
        {"oldpassword": factories.PASSWORD, "password1": new, "password2": new},
    )

    assert [action for action, _, _ in noted()] == ["user.signed_in", "user.password_changed"]


@pytest.mark.parametrize(
    ("signal", "action", "facts"),
    [
        (mfa_signals.authenticator_added, "second_factor.added", (None, {"kind": "totp"})),
        (mfa_signals.authenticator_removed, "second_factor.removed", ({"kind": "totp"}, None)),
    ],
    ids=["added", "removed"],
)
def test_second_factors_are_noted(rf, alice, signal, action, facts):
    request = rf.get("/")
    request.user, request.session = AnonymousUser(), {}  # nobody to offer anything to
    factor = TOTP.activate(alice, "JBSWY3DPEHPK3PXP").instance

    signal.send(sender=Authenticator, request=request, user=alice, authenticator=factor)

    entry = Entry.objects.get(action=action)
    assert (entry.actor_id, entry.before, entry.after) == (alice.pk, *facts)
