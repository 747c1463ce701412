"""Who a browser is, for code outside Django's request handling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError
from typing import Any

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.http import parse_cookie
from django.utils.crypto import constant_time_compare

from accounts import single_sign_on
from accounts.models import User


@dataclass(frozen=True, slots=True)
class SignIn:
    """A web session. proven_at: when its person last showed who they are, with a second factor
    where they have one; None for a session that never did. has_second_factor: whether they have
    one. signed_on: the single sign-ons of organizations that the sign-in came by."""

    user_id: str
    proven_at: datetime | None
    has_second_factor: bool
    signed_on: frozenset[str] = frozenset()

    def is_younger_than(self, age: timedelta, *, at: datetime) -> bool:
        return self.proven_at is not None and at - self.proven_at < age


def session_key(cookies: str) -> str | None:
    """The key of the web session in a ``Cookie`` header, whether or not it stands."""
    try:
        key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return key if key and "\0" not in key else None


def sign_ins(keys: Sequence[str], *, at: datetime) -> list[SignIn | None]:
    """Who is signed in by each session key now, as pages decide it: the session stands, its
    password is the present one, and the person is active. Two queries, however many keys."""
    rows = Session.objects.filter(pk__in=set(keys), expire_date__gt=at)
    sessions = {row.pk: row.get_decoded() for row in rows}
    ids = {data.get(SESSION_KEY) for data in sessions.values()}
    factors = Authenticator.objects.filter(user=OuterRef("pk")).exclude(
        type=Authenticator.Type.RECOVERY_CODES
    )
    people = (
        User.objects.filter(is_active=True)
        .annotate(has_factor=Exists(factors))
        .in_bulk(list(filter(None, ids)))
    )
    found = {key: _sign_in(data, people) for key, data in sessions.items()}
    return [found.get(key) for key in keys]


def _sign_in(data: dict[str, Any], people: Mapping[str, Any]) -> SignIn | None:
    user = people.get(data.get(SESSION_KEY, ""))
    if user is None or data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    presented = data.get(HASH_SESSION_KEY, "")
    if not any(constant_time_compare(presented, known) for known in hashes):
        return None
    records = data.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    proofs = [proof["at"] for proof in records if not user.has_factor or proof["method"] == "mfa"]
    proven_at = datetime.fromtimestamp(max(proofs), UTC) if proofs else None
    return SignIn(user.pk, proven_at, user.has_factor, single_sign_on.proofs_of(records))


def person_of(cookies: str, *, at: datetime) -> str | None:
    """The id of whoever is signed in by a ``Cookie`` header now; None for anybody else."""
    key = session_key(cookies)
    if key is None:
        return None
    [found] = sign_ins([key], at=at)
    return found.user_id if found else None
