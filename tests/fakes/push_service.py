"""A push service on loopback, and the browsers that it serves: what it is posted, it keeps, with what
it can know of it; the browser's keys alone read more."""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import http_ece
import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.loopback import on_loopback


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Keys:
    """Of one browser's subscription."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        point = self.private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.p256dh, self.auth = _text(point), _text(self.secret)

    def read(self, body: bytes) -> Any:
        """What the browser's worker gets."""
        return json.loads(http_ece.decrypt(body, private_key=self.private, auth_secret=self.secret))


@dataclass
class Pushed:
    path: str
    headers: dict[str, str]
    body: bytes

    def claims(self) -> dict[str, Any]:
        """Of the sender's signature, which is checked with the key that it names (RFC 8292)."""
        scheme, _, parameters = self.headers["Authorization"].partition(" ")
        assert scheme == "vapid"
        given = dict(part.strip().split("=", 1) for part in parameters.split(","))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _bytes(given["k"]))
        options = {"verify_aud": False}
        return {
            **jwt.decode(given["t"], key, algorithms=["ES256"], options=options),
            "k": given["k"],
        }


@dataclass
class FakePushService:
    """answers: a status by the path, 201 for others."""

    url: str = ""
    pushed: list[Pushed] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.Response:
        self.pushed.append(Pushed(request.path, dict(request.headers), await request.read()))
        headers = {"Location": f"{self.url}/elsewhere"}
        return web.Response(status=self.answers.get(request.path, 201), headers=headers)


@contextmanager
def fake_push_service() -> Iterator[FakePushService]:
    fake = FakePushService()
    app = web.Application()
    app.router.add_post("/{tail:.*}", fake.take)
    with on_loopback(app) as url:
        fake.url = url
        yield fake
