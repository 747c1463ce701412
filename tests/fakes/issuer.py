"""An OpenID Connect issuer on loopback, which signs in one person without asking."""

import secrets
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import jwt
from aiohttp import web

from tests.fakes.loopback import on_loopback

CLIENT = "roocloud"
SECRET = "issuer-client-secret"


class FakeIssuer:
    """person: the claims it makes. codes: redirect URI of each code that was not used yet."""

    def __init__(self) -> None:
        self.url = ""
        self.person: dict[str, Any] = {
            "sub": "sub-1",
            "email": "nora@new.example",
            "email_verified": True,
            "given_name": "Nora",
            "family_name": "Newman",
        }
        self.codes: dict[str, str] = {}
        self.tokens: set[str] = set()

    @property
    def apps(self) -> dict[str, Any]:
        """What SOCIALACCOUNT_PROVIDERS says to use it."""
        app = {"provider_id": "oidc", "name": "Acme SSO", "client_id": CLIENT, "secret": SECRET}
        return {"openid_connect": {"APPS": [{**app, "settings": {"server_url": self.url}}]}}

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/jwks",
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
        )

    async def authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        if asked["client_id"] != CLIENT or asked["response_type"] != "code":
            raise web.HTTPBadRequest
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked["redirect_uri"]
        answer = urlencode({"code": code, "state": asked["state"]})
        raise web.HTTPFound(f"{asked['redirect_uri']}?{answer}")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        known = request.headers.get("Authorization") == basic(CLIENT, SECRET)
        if not known or self.codes.pop(str(form["code"]), None) != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        token = secrets.token_urlsafe(8)
        self.tokens.add(token)
        now = int(time.time())
        claims = {**self.person, "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60}
        return web.json_response(
            {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": 60,
                "id_token": jwt.encode(claims, "k" * 32, algorithm="HS256"),
            }
        )

    async def userinfo(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
            raise web.HTTPUnauthorized
        return web.json_response(self.person)


def basic(name: str, password: str) -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


@contextmanager
def fake_issuer() -> Iterator[FakeIssuer]:
    """A running issuer at ``url``."""
    fake = FakeIssuer()
    app = web.Application()
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", fake.discovery),
            web.get("/authorize", fake.authorize),
            web.post("/token", fake.token),
            web.get("/userinfo", fake.userinfo),
        ]
    )
    with on_loopback(app) as fake.url:
        yield fake
