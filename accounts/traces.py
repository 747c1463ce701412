"""What allauth does, on the audit trail (L4). The address that was typed is not noted: who mistakes
one field for the other would leave a password there."""

from datetime import datetime, timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.cache import cache

from accounts.actors import Actor, TokenKind
from accounts.models import User
from audit import actions as audit
from roocloud.lib.ids import digest

#: The same account is noted as locked once in this time, however often it is tried.
_LOCKED_ONCE = timedelta(minutes=5)
NOBODY = "-"


def signed_in(*, user: User, ways: list[dict[str, Any]], at: datetime) -> None:
    """By a browser. ways: allauth's records of how the person showed who they are."""
    methods = [str(way.get("type") or way.get("provider") or way.get("method")) for way in ways]
    _record("user.signed_in", user, after={"by": methods}, at=at)


def sign_in_failed(*, email: str, at: datetime) -> None:
    """With a wrong password, or for an account that there is not."""
    _attempted("user.sign_in_failed", email, at=at)


def locked_out(*, email: str, at: datetime) -> None:
    """Refused, because it was tried too often."""
    key = f"accounts.locked_out.{digest(email)}"
    if cache.add(key, 1, timeout=int(_LOCKED_ONCE.total_seconds())):
        _attempted("user.locked_out", email, at=at)


def second_factor_changed(
    action: str, *, user: User, authenticator: Authenticator, at: datetime
) -> None:
    """action: ``second_factor.added`` or ``second_factor.removed``."""
    kind = {"kind": str(authenticator.type)}
    is_added = action.endswith("added")
    _record(
        action, user, after=kind if is_added else None, before=None if is_added else kind, at=at
    )


def password_changed(*, user: User, at: datetime) -> None:
    """By the person."""
    _record("user.password_changed", user, at=at)


def email_changed(*, user: User, at: datetime) -> None:
    """The address that the person signs in with."""
    _record("user.email_changed", user, at=at)


def _record(action: str, user: User, *, at: datetime, **facts: Any) -> None:
    actor = Actor(user.pk, None, None, TokenKind.WEB, is_staff=user.is_staff)
    audit.record(action=action, actor=actor, target_kind="user", target_id=user.pk, at=at, **facts)


def _attempted(action: str, email: str, *, at: datetime) -> None:
    """By somebody who is not known to be that person."""
    user_id = User.objects.filter(email__iexact=email).values_list("pk", flat=True).first()
    audit.record(action=action, actor=None, target_kind="user", target_id=user_id or NOBODY, at=at)
