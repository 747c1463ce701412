"""Amazon Bedrock and Google Vertex on loopback, with Claude behind both.

Each is as strict as the real one: Bedrock recomputes the signature of a request from what arrived,
Vertex takes only tokens that it gave, and neither takes a body with a model.
"""

import asyncio
import base64
import json
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote

import jwt
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes import anthropic
from tests.fakes.loopback import on_loopback

REGION = "eu-central-1"
HOST = f"bedrock-runtime.{REGION}.amazonaws.com"
API_KEY = "ABSKQmVkcm9ja0FQSUtleS1zZWNyZXQ="
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_KEY, SESSION = "ASIAIOSFODNN7EXAMPLE", "IQoJb3JpZ2luX2VjEXAMPLE/session+token=="
KEYS = f"{ACCESS_KEY}:{SECRET_KEY}"
SESSION_KEYS = f"{SESSION_KEY}:{SECRET_KEY}:{SESSION}"
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<scope>[\w/-]+), "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def frame(payload: Any, **headers: str) -> bytes:
    """A message of an event stream: a prelude, headers, a payload, two checksums."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    names = b"".join(
        struct.pack("!B", len(name) + 1) + b":" + name.encode()
        + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in ((key.replace("_", "-"), value) for key, value in headers.items())
    )  # fmt: skip
    prelude = struct.pack("!II", 16 + len(names) + len(body), len(names))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + names + body
    return message + struct.pack("!I", zlib.crc32(message))


def chunk(event: bytes) -> bytes:
    """One of Anthropic's events as Bedrock sends it."""
    data = event.partition(b"data: ")[2].strip()
    payload = {"bytes": base64.b64encode(data).decode(), "p": "abcdefghij"}
    return frame(payload, event_type="chunk", content_type="application/json", message_type="event")


def exception(kind: str, message: str) -> bytes:
    return frame({"message": message}, exception_type=kind, message_type="exception")


def chunks(events: list[bytes]) -> list[bytes]:
    """``message_start`` and ``message_stop`` come in events of their own."""
    return [chunk(part + b"\n\n") for event in events for part in event.strip().split(b"\n\n")]


class _FakeCloud:
    """requests: what it was asked, in order; refused: how many of them without the right to."""

    denied = 401
    version = streaming = stream_type = ""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refused = 0
        self.url = ""

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = json.loads(body)
        model = unquote(request.match_info["model"])
        self.requests.append(
            {
                "path": request.raw_path,
                "headers": dict(request.headers),
                "body": asked,
                "model": model,
            }
        )
        if not self.is_allowed(request, body):
            self.refused += 1
            return self.error(self.denied, f"invalid {request.headers.get('Authorization')}")
        if "model" in asked or asked.get("anthropic_version") != self.version:
            return self.error(400, "model: Extra inputs are not permitted")
        if "status" in model:
            status = int(model.split("-")[-1])
            return self.error(status, anthropic.ERRORS.get(status, ("", "No"))[1])
        if request.match_info["operation"] == self.streaming:
            return await self.stream(request, model)
        return web.json_response(
            anthropic.message(
                model,
                content=anthropic.content(model),
                stop_reason=anthropic.stop_reason(model),
            )
        )

    async def stream(self, request: web.Request, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": self.stream_type})
        await response.prepare(request)
        for data in self.events(model):
            await response.write(data)
        return response

    def is_allowed(self, request: web.Request, body: bytes) -> bool:
        raise NotImplementedError

    def error(self, status: int, message: str) -> web.Response:
        raise NotImplementedError

    def events(self, model: str) -> list[bytes]:
        raise NotImplementedError


class FakeBedrock(_FakeCloud):
    denied = 403
    version = "bedrock-2023-05-31"
    streaming = "invoke-with-response-stream"
    stream_type = "application/vnd.amazon.eventstream"

    def is_allowed(self, request: web.Request, body: bytes) -> bool:
        authorization = request.headers.get("Authorization", "")
        if authorization == f"Bearer {API_KEY}":
            return True
        signed = _SIGNED.fullmatch(authorization)
        date = request.headers.get("X-Amz-Date", "")
        if signed is None or signed["scope"] != f"{date[:8]}/{REGION}/bedrock/aws4_request":
            return False
        age = datetime.now(UTC) - datetime.strptime(date, "%Y%m%dT%H%M%S%z")
        token = request.headers.get("X-Amz-Security-Token")
        if (signed["id"], token) not in ((ACCESS_KEY, None), (SESSION_KEY, SESSION)):
            return False
        headers = {name: request.headers[name] for name in signed["headers"].split(";")}
        again = AWSRequest(
            request.method, f"http://{request.host}{request.raw_path}", headers=headers, data=body
        )
        again.context["timestamp"] = date
        signer = SigV4Auth(Credentials(signed["id"], SECRET_KEY, token), "bedrock", REGION)
        text = signer.string_to_sign(again, signer.canonical_request(again))
        complete = "host" in headers and (token is None or "x-amz-security-token" in headers)
        is_fresh = abs(age.total_seconds()) < 300
        return complete and is_fresh and signer.signature(text, again) == signed["signature"]

    def error(self, status: int, message: str) -> web.Response:
        return web.json_response({"message": message}, status=status)

    def events(self, model: str) -> list[bytes]:
        whole = chunks(anthropic.events(model))
        slow = exception("throttlingException", "Too many tokens, please wait before trying again.")
        if "refusing" in model:
            return [slow]
        if "overflowing" in model:
            return [exception("validationException", "Input is too long for requested model.")]
        if "overloaded" in model:
            return [*whole[:6], slow]
        if "truncated" in model:
            return whole[:-1]
        return whole


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem() -> str:
    return (
        _private_key()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


class FakeVertex(_FakeCloud):
    """tokens: how many it gave, and which the last one was. expires_in: seconds that one holds.
    token_status: of its token endpoint, which waits for token_delay_s."""

    version = "vertex-2023-10-16"
    streaming = "streamRawPredict"
    stream_type = "text/event-stream"
    email = "roo@my-project.iam.gserviceaccount.com"

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.requests.clear()
        self.tokens = 0
        self.valid: set[str] = set()
        self.expires_in = 3600
        self.token_status = 200
        self.token_delay_s = 0.0

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1/projects/my-project/locations/eu-central1"

    def service_account(self, **changed: Any) -> str:
        """A file as the console gives it."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "my-project",
                "private_key_id": "k1",
                "private_key": private_pem(),
                "client_email": self.email,
                "token_uri": f"{self.url}/token",
                "universe_domain": "googleapis.com",
                **changed,
            },
            indent=2,
        )

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        claims = jwt.decode(
            str(form["assertion"]),
            _private_key().public_key(),
            algorithms=["RS256"],
            audience="https://oauth2.googleapis.com/token",
        )
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        await asyncio.sleep(self.token_delay_s)
        if self.token_status != 200 or claims["iss"] != self.email:
            refused = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return web.json_response(refused, status=self.token_status)
        self.tokens += 1
        token = f"ya29.c.secret-{self.tokens}"
        self.valid.add(token)
        return web.json_response(
            {"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"}
        )

    def is_allowed(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in self.valid

    def error(self, status: int, message: str) -> web.Response:
        return web.json_response([{"error": {"code": status, "message": message}}], status=status)

    def events(self, model: str) -> list[bytes]:
        whole = anthropic.events(model)
        slow = anthropic.event("error", error={"type": "rate_limit_error", "message": "Slow down"})
        too_long = {"type": "invalid_request_error", "message": anthropic.OVERFLOW}
        if "refusing" in model:
            return [slow]
        if "overflowing" in model:
            return [anthropic.event("error", error=too_long)]
        if "overloaded" in model:
            return [*whole[:6], slow]
        if "truncated" in model:
            return whole[:-1]
        return whole


@contextmanager
def fake_bedrock() -> Iterator[FakeBedrock]:
    """Its url names Amazon's host, which the test lets resolve to loopback."""
    fake = FakeBedrock()
    app = web.Application(client_max_size=2**28)
    app.add_routes([web.post("/model/{model}/{operation}", fake.invoke)])
    with on_loopback(app) as url:
        fake.url = url.replace("127.0.0.1", HOST)
        yield fake


@contextmanager
def fake_vertex() -> Iterator[FakeVertex]:
    fake = FakeVertex()
    app = web.Application(client_max_size=2**28)
    place = "/v1/projects/my-project/locations/eu-central1/publishers/anthropic/models"
    app.add_routes(
        [
            web.post("/token", fake.token),
            web.post(place + "/{model}:{operation}", fake.invoke),
        ]
    )
    with on_loopback(app) as url:
        fake.url = url
        yield fake
