"""B3, B4: what a token must be, and how long it lasts after its end."""

import base64
import json
import random
from datetime import timedelta

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import actions, bearer, tokens
from accounts.actors import TokenKind
from audit.models import Entry
from orgs.actions import remove_member
from roocloud.lib.refusals import Unauthenticated
from tests import factories


def header(person, org=None, kind="editor") -> str:
    return factories.bearer(person, org, kind)["Authorization"]


def who(value, **more):
    return bearer.authenticate(value, at=timezone.now(), **more)


def test_claims_are_those_of_the_protocol(alice, acme):
    token = header(alice, acme).removeprefix("Bearer ")

    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["iss"] == "rcc"
    assert claims["sub"] == claims["r"]["u"] == alice.pk
    assert claims["v"] == 1
    assert claims["r"] == {"u": alice.pk, "o": acme.pk, "t": "auth"}
    assert claims["exp"] - claims["iat"] >= 600  # trap 6
    assert claims["nbf"] == claims["iat"]


def test_a_personal_token_has_no_organization_key(alice):
    claims = jwt.decode(header(alice)[7:], options={"verify_signature": False})
    assert "o" not in claims["r"]


def test_a_job_token_names_its_job(alice):
    claims = jwt.decode(header(alice, kind="job")[7:], options={"verify_signature": False})
    assert claims["r"]["t"] == "cj"
    assert claims["sub"] == claims["sid"]


def test_a_good_token_is_its_person_with_the_role_of_now(alice, acme):
    actor = who(header(alice, acme))
    assert (actor.user_id, actor.organization_id, actor.role) == (alice.pk, acme.pk, "owner")
    assert actor.kind is TokenKind.SESSION
    assert actor.is_staff is False


def test_the_published_keys_verify_a_token(alice):
    token = header(alice)[7:]
    key = jwt.PyJWKSet.from_dict(tokens.jwks())[jwt.get_unverified_header(token)["kid"]]

    assert jwt.decode(token, key.key, algorithms=["EdDSA"], issuer="rcc")["r"]["u"] == alice.pk


def test_old_tokens_verify_after_a_rotation(alice):
    old = header(alice)
    kid = tokens.make_key(at=timezone.now())

    assert who(old).user_id == alice.pk
    assert jwt.get_unverified_header(header(alice)[7:])["kid"] == kid


class TestRetiringAKey:
    def test_ends_its_tokens_and_leaves_the_others(self, alice):
        leaked = header(alice)
        kid = jwt.get_unverified_header(leaked[7:])["kid"]
        call_command("rotate_signing_key")
        good = header(alice)

        call_command("rotate_signing_key", "--retire", kid)

        with pytest.raises(Unauthenticated):
            who(leaked)
        assert who(good).user_id == alice.pk
        assert kid not in {key["kid"] for key in tokens.jwks()["keys"]}
        assert Entry.objects.filter(action="signing_key.retired", target_id=kid).exists()

    def test_of_the_only_one_makes_another(self, alice):
        leaked = header(alice)
        kid = jwt.get_unverified_header(leaked[7:])["kid"]

        call_command("rotate_signing_key", "--retire", kid)

        assert who(header(alice)).user_id == alice.pk
        with pytest.raises(Unauthenticated):
            who(leaked)

    def test_happens_once_and_to_keys_that_are_there(self, alice):
        kid = tokens.make_key(at=timezone.now())
        call_command("rotate_signing_key", "--retire", kid)

        for unknown in (kid, "key_nobodys"):
            with pytest.raises(CommandError, match="no such key"):
                call_command("rotate_signing_key", "--retire", unknown)
        assert Entry.objects.filter(action="signing_key.retired").count() == 1


def forge(claims: dict, *, headers: dict, key=None, algorithm="EdDSA") -> str:
    payload = json.dumps(claims).encode()  # not through PyJWT's own checks of claims
    key = key or Ed25519PrivateKey.generate()
    return jwt.PyJWS().encode(payload, key, algorithm=algorithm, headers=headers)


def forgeries(token: str):
    """Thousands of tokens that are nearly right."""
    head = jwt.get_unverified_header(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    kid, private = tokens.keys.signer()
    good = {"kid": kid}
    parts = token.split(".")

    def encoded(value) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for algorithm in ("none", "None", "NONE", "HS256", "RS256", "ES256", "", None):
        yield f"{encoded({**head, 'alg': algorithm})}.{parts[1]}."
        yield f"{encoded({**head, 'alg': algorithm})}.{parts[1]}.{parts[2]}"
    yield forge(claims, headers=good)
    public = tokens.keys.published()[kid].public_bytes_raw()
    yield forge(claims, headers=good, key=public.hex() * 2, algorithm="HS256")
    for bad_kid in ("", "x", "../x", None, 5, "key_unknown", "\x00"):
        yield forge(
            claims, headers={"kid": bad_kid} if isinstance(bad_kid, str) else {}, key=private
        )
    yield forge(claims, headers={**good, "crit": ["exp"]}, key=private)
    yield forge(claims, headers={**good, "crit": ["b64"], "b64": False}, key=private)
    now = int(timezone.now().timestamp())
    changes = [
        {"iss": "evil"}, {"iss": None}, {"exp": now - 60}, {"exp": 0}, {"nbf": now + 600},
        {"v": 2}, {"v": None}, {"v": "1"}, {"r": None}, {"r": []}, {"r": {}}, {"sid": None},
        {"sid": "sess_unknown"}, {"sid": 5}, {"r": {**claims["r"], "t": "admin"}},
        {"r": {**claims["r"], "t": None}}, {"r": {**claims["r"], "u": "user_other"}},
        {"r": {**claims["r"], "o": "org_other"}}, {"r": {"t": "auth"}},
    ]  # fmt: skip
    for change in changes:
        yield forge({**claims, **change}, headers=good, key=private)
    for claim in ("exp", "iat", "nbf", "iss", "sub", "v", "r", "sid"):
        yield forge({k: v for k, v in claims.items() if k != claim}, headers=good, key=private)
    rng = random.Random(7)  # noqa: S311 - repeatable, not secret
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    for _ in range(2000):
        place = rng.randrange(len(token) - 1)  # the last character has spare bits
        other = rng.choice([c for c in alphabet if c != token[place]])
        yield token[:place] + other + token[place + 1 :]
    for length in range(0, len(token), 7):
        yield token[:length]
    yield from ("", ".", "..", "a.b.c", token + ".x", token * 20, f"{token}\x00")


def test_forged_tokens_are_refused(alice, acme):
    """B3"""
    token = header(alice, acme)[7:]
    tried = 0
    for forged in forgeries(token):
        with pytest.raises(Unauthenticated):
            who(f"Bearer {forged}")
        tried += 1
    assert tried > 2000
    assert who(f"Bearer {token}").user_id == alice.pk


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Bearer unauthenticated", "Basic abc", "bearer"]
)
def test_no_token_is_nobody(db, value):
    """protocol/proxy.md §2"""
    with pytest.raises(Unauthenticated, match="Sign in"):
        who(value)


def test_an_expired_token_is_refused(alice):
    value = header(alice)
    with (
        time_machine.travel(timezone.now() + timedelta(minutes=11)),
        pytest.raises(Unauthenticated),
    ):
        who(value)


def test_an_ended_session_stops_its_tokens(alice):
    """B4"""
    session, _ = factories.client_session(alice)
    value = f"Bearer {tokens.mint(session, organization_id=None, at=timezone.now())}"
    who(value)

    actions.end_session(session=session, by=factories.actor(alice), at=timezone.now())

    with pytest.raises(Unauthenticated):
        who(value)


def test_what_another_process_ended_stops_within_five_seconds(alice):
    """B4"""
    session, _ = factories.client_session(alice)
    value = f"Bearer {tokens.mint(session, organization_id=None, at=timezone.now())}"
    who(value)
    type(session).unscoped.filter(pk=session.pk).update(ended_at=timezone.now())

    with (
        time_machine.travel(timezone.now() + timedelta(seconds=5, milliseconds=10)),
        pytest.raises(Unauthenticated),
    ):
        who(value)


def test_who_left_an_organization_has_no_token_for_it(bob, alice, acme):
    """B4a"""
    value = header(bob, acme)
    who(value)

    remove_member(
        organization=acme, user_id=bob.pk, by=factories.actor(alice, acme), at=timezone.now()
    )

    with pytest.raises(Unauthenticated):
        who(value)


def test_a_deactivated_person_has_no_token(alice):
    value = header(alice)
    actions.deactivate(user_id=alice.pk, at=timezone.now())
    with pytest.raises(Unauthenticated):
        who(value)


def test_using_a_token_asks_the_database_once_in_five_seconds(alice, django_assert_num_queries):
    value = header(alice)
    who(value)
    with django_assert_num_queries(0):
        who(value)
