"""Browsers that take notifications."""

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from allauth.usersessions.models import UserSession
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import transaction

from accounts import browsers
from accounts.actors import Actor
from audit import actions as audit
from notifications import preferences
from notifications.models import Subscription
from roocloud.lib.ids import digest
from roocloud.lib.refusals import Conflict, InvalidInput, NotFound
from roocloud.lib.text import clean_label

#: Browsers of one person.
MOST = 20
_MAX_ENDPOINT = 1_000


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What a browser's PushManager gives: where to write to, and with which keys (base64url)."""

    endpoint: str
    p256dh: str
    auth: str


def subscribe(
    *, by: Actor, session_key: str, new: NewSubscription, label: str, time_zone: str, at: datetime
) -> Subscription:
    """Let a browser take the person's notifications while they are signed in there. The same
    endpoint is the same browser, and is of who said so last.

    session_key: of its web session. label: what to call it.

    Raises InvalidInput naming the field, and Conflict beyond twenty browsers.
    """
    _check_endpoint(new.endpoint)
    p256dh, auth = _keys(new)
    with transaction.atomic():
        before = Subscription.unscoped.filter(endpoint_hash=digest(new.endpoint)).first()
        is_new = before is None or before.user_id != by.user_id
        if is_new and Subscription.objects.visible_to(by).count() >= MOST:
            raise Conflict("There are twenty browsers already; turn one off first")
        row, _ = Subscription.unscoped.update_or_create(
            endpoint_hash=digest(new.endpoint),
            defaults={
                "user_id": by.user_id,
                "session": _session(by, session_key),
                "endpoint": new.endpoint,
                "p256dh": p256dh,
                "auth": auth,
                "label": clean_label(label, 100),
                "created_at": at,
            },
        )
        preferences.begin(user_id=by.user_id, time_zone=time_zone, at=at)
        if is_new:
            _record("browser.subscribed", row, by=by, at=at)
    return row


def renew(*, by: Actor, session_key: str, endpoint: str) -> None:
    """A browser that was turned on says at each visit that it is still there: it may have a new
    sign-in by now.

    Raises NotFound for one that was turned off, or that somebody else turned on.
    """
    found = Subscription.objects.visible_to(by).filter(endpoint_hash=digest(endpoint))
    if not found.update(session=_session(by, session_key)):
        raise NotFound("Not found")


def _session(by: Actor, session_key: str) -> UserSession:
    """Raises NotFound for one that is over."""
    session = UserSession.objects.filter(user_id=by.user_id, session_key=session_key).first()
    if session is None:
        raise NotFound("This sign-in has ended")
    return session


def _check_endpoint(endpoint: str) -> None:
    """Where it leads is looked at when it is connected to (K1)."""
    if len(endpoint) > _MAX_ENDPOINT or not endpoint.isascii():
        raise InvalidInput("This is no address of a push service", field="endpoint")
    try:
        parts = urlsplit(endpoint)
        is_address = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        is_address = False
    if not is_address or any(character <= " " for character in endpoint):
        raise InvalidInput("This is no address of a push service", field="endpoint")


def _keys(new: NewSubscription) -> tuple[str, str]:
    """p256dh and auth as they are stored: written anew, thus as long as they have to be."""
    try:
        p256dh = _decoded(new.p256dh)
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    except ValueError:
        raise InvalidInput("This is no key of a browser", field="p256dh") from None
    try:
        auth = _decoded(new.auth)
    except ValueError:
        auth = b""
    if len(auth) != 16:
        raise InvalidInput("This is no secret of a browser", field="auth")
    return _encoded(p256dh), _encoded(auth)


def _decoded(text: str) -> bytes:
    """Of base64 and nothing else, with or without its padding. Raises ValueError."""
    if len(text) > 100:
        raise ValueError("too long")
    bare = text.rstrip("=")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def unsubscribe(*, subscription_id: str, by: Actor, at: datetime) -> None:
    """Raises NotFound for what is not the actor's."""
    row = Subscription.objects.visible_to(by).filter(pk=subscription_id).first()
    if row is None:
        raise NotFound("Not found")
    with transaction.atomic():
        _record("browser.unsubscribed", row, by=by, at=at)
        row.delete()


def _record(action: str, row: Subscription, *, by: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        actor=by,
        target_kind="subscription",
        target_id=row.pk,
        after={"label": row.label},
        at=at,
    )


def standing(user_ids: Collection[str], *, at: datetime) -> Mapping[str, list[Subscription]]:
    """Each person's browsers in which they are signed in now: who signed a lost phone out sends it
    nothing any more. Three queries, however many."""
    rows = list(
        Subscription.unscoped.filter(user_id__in=set(user_ids), session__isnull=False)
        .select_related("session")
        .order_by("-created_at", "pk")
    )
    keys = [row.session.session_key for row in rows if row.session is not None]
    signed_in = browsers.sign_ins(keys, at=at) if rows else []
    found: defaultdict[str, list[Subscription]] = defaultdict(list)
    for row, sign_in in zip(rows, signed_in, strict=True):
        if sign_in is not None and sign_in.user_id == row.user_id:
            found[row.user_id].append(row)
    return found


def forget_left(*, before: datetime) -> None:
    """Delete the browsers that were turned on before, and in which nobody is signed in."""
    Subscription.unscoped.filter(session=None, created_at__lt=before).delete()
