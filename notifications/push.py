"""Web push: what a browser is sent through the push service that it named (RFC 8030), encrypted for
that browser alone (RFC 8291), by a sender that the service knows again (RFC 8292)."""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from hashlib import sha256
from urllib.parse import urlsplit

import aiohttp
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.utils import timezone

from notifications.kinds import Kind
from notifications.models import Delivery, Notice, PushKey, Subscription
from roocloud.lib import crypto, outbound, sealed

#: Seconds that a push service keeps what it cannot deliver: a question is soon stale.
_TTL_S = {Kind.APPROVAL: 3_600, Kind.QUESTION: 3_600, Kind.TEST: 600}
_TTL_OTHERWISE_S = 24 * 3_600
_URGENT = frozenset({Kind.APPROVAL, Kind.QUESTION, Kind.TEST})
#: Seconds that a signature is good for.
_SIGNED_S = 3_600
_CONTEXT = "notifications.pushkey.sealed_private_key:1"
_State = Delivery.State


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. may_try_again: it was not delivered for sure. is_dead: the browser
    takes nothing at that address any more."""

    state: str
    reason: str = ""
    may_try_again: bool = False
    is_dead: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """public: the point, base64url."""

    private: ec.EllipticCurvePrivateKey
    public: str


@dataclass(frozen=True, slots=True)
class Message:
    """A request to a push service."""

    url: str
    headers: dict[str, str]
    body: bytes


def key() -> Key:
    """The deployment's own, made on first use."""
    row = PushKey.unscoped.filter(pk=1).first() or _make_key()
    private = serialization.load_pem_private_key(
        crypto.unseal(row.sealed_private_key, context=_CONTEXT), password=None
    )
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("not a P-256 key")
    return Key(private, row.public_key)


def _make_key() -> PushKey:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    point = private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    made = {
        "sealed_private_key": crypto.seal(pem, context=_CONTEXT),
        "public_key": urlsafe_b64encode(point).rstrip(b"=").decode(),
        "created_at": timezone.now(),
    }
    row, _ = PushKey.unscoped.get_or_create(pk=1, defaults=made)  # the first of two counts
    return row


def renewed(row: PushKey) -> str | None:
    """See roocloud.lib.sealed."""
    return sealed.renewed(row.sealed_private_key, context=_CONTEXT)


def message(notice: Notice, browser: Subscription, key: Key) -> Message:
    """A notice for one browser."""
    # Slow to load, and of no use to processes that send nothing.
    from py_vapid import Vapid02
    from pywebpush import WebPusher

    shown = {
        "title": notice.title,
        "text": notice.text,
        "path": notice.path,
        "topic": notice.topic,
    }
    keys = {"p256dh": browser.p256dh, "auth": browser.auth}
    pusher = WebPusher({"endpoint": browser.endpoint, "keys": keys})
    encoded = pusher.encode(msgspec.json.encode(shown), "aes128gcm")
    parts = urlsplit(browser.endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int(time.time()) + _SIGNED_S,
        "sub": _contact(),
    }
    kind = Kind(notice.kind)
    headers = {
        **Vapid02(key.private).sign(claims),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(_TTL_S.get(kind, _TTL_OTHERWISE_S)),
        "Urgency": "high" if kind in _URGENT else "normal",
        "Topic": urlsafe_b64encode(sha256(notice.topic.encode()).digest())[:32].decode(),
    }
    return Message(browser.endpoint, headers, encoded["body"])


def _contact() -> str:
    """Whom a push service asks about this sender."""
    url: str = settings.ROOCLOUD_PUBLIC_URL
    return (
        url if url.startswith("https:") else f"mailto:{parseaddr(settings.DEFAULT_FROM_EMAIL)[1]}"
    )


async def send_all(messages: Sequence[Message]) -> list[Outcome]:
    """What the push services said of each."""
    async with outbound.to_strangers() as session:
        return await asyncio.gather(*(_send(session, message) for message in messages))


async def _send(session: aiohttp.ClientSession, message: Message) -> Outcome:
    try:
        async with session.post(
            message.url, data=message.body, headers=message.headers, allow_redirects=False
        ) as answer:
            return _outcome(answer.status)
    except aiohttp.ClientConnectorError as fault:
        if isinstance(fault.os_error, outbound.ForbiddenAddress):
            return Outcome(_State.FAILED, "Its push service is at an address that is not allowed")
        return Outcome(_State.FAILED, "Its push service could not be reached", may_try_again=True)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return Outcome(_State.UNKNOWN, "Its push service did not answer")


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(_State.SENT)
    if status in (404, 410):
        return Outcome(_State.FAILED, "This browser takes no more notifications", is_dead=True)
    said = f"Its push service answered {status}"
    return Outcome(_State.FAILED, said, may_try_again=status == 429 or status >= 500)
