"""Signed tokens: what an editor, the command line and a job show to /api, /proxy and /trpc.

Claims are fixed by protocol/auth.md §9; ``sid`` is ours and names the ClientSession behind a token.
"""

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from jwt.algorithms import OKPAlgorithm
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.tokens import Token

from accounts.actors import TokenKind
from accounts.models import ClientSession, SigningKey
from audit import actions as audit
from roocloud.lib import crypto, sealed
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import NotFound, Unauthenticated

ALGORITHM = "EdDSA"
VERSION = 1
#: Ten minutes, because an editor goes on with its old token while a refresh fails (trap 6).
SESSION_LIFETIME = timedelta(minutes=10)
#: The figure that the CLI's guide states; it cannot refresh.
CLI_LIFETIME = timedelta(days=90)
_LEEWAY_S = 10
_KEYS_FRESH_S = 30.0


class InvalidToken(Unauthenticated):
    code = "invalid_token"


def is_signed(token: str) -> bool:
    """Whether it has the form of a signed token; other secrets have no dots."""
    return "." in token


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. ``kind`` is CLI for a token whose session is a CLI login."""

    user_id: str
    organization_id: str | None
    session_id: str
    kind: TokenKind
    expires_at: int  # epoch seconds


class _Keys:
    """The deployment's keys, read at most every 30 s and when an unknown ``kid`` turns up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded_at = float("-inf")
        self._public: dict[str, Ed25519PublicKey] = {}
        self._signer: tuple[str, Ed25519PrivateKey] | None = None

    def forget(self) -> None:
        with self._lock:
            self._loaded_at = float("-inf")

    def _refresh(self, *, max_age_s: float) -> None:
        with self._lock:
            if time.monotonic() - self._loaded_at < max_age_s:
                return
            rows = list(SigningKey.unscoped.filter(retired_at=None).order_by("-created_at", "kid"))
            self._public = {row.kid: _public(row.public_key) for row in rows}
            self._signer = (rows[0].kid, _private(rows[0])) if rows else None
            self._loaded_at = time.monotonic()

    def signer(self) -> tuple[str, Ed25519PrivateKey]:
        self._refresh(max_age_s=_KEYS_FRESH_S)
        if self._signer is None:
            make_key(at=timezone.now())
            self._refresh(max_age_s=0)
        if self._signer is None:
            raise RuntimeError("no signing key although one was just made")
        return self._signer

    def verifier(self, kid: str) -> Ed25519PublicKey | None:
        self._refresh(max_age_s=_KEYS_FRESH_S)
        if kid not in self._public:
            self._refresh(max_age_s=1.0)
        return self._public.get(kid)

    def published(self) -> dict[str, Ed25519PublicKey]:
        self._refresh(max_age_s=_KEYS_FRESH_S)
        return dict(self._public)


keys = _Keys()


def _context(kid: str) -> str:
    return f"accounts.signingkey.sealed_private_key:{kid}"


def renewed(row: SigningKey) -> str | None:
    """See roocloud.lib.sealed."""
    return sealed.renewed(row.sealed_private_key, context=_context(row.kid))


@lru_cache(maxsize=16)
def _public(pem: str) -> Ed25519PublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("not an Ed25519 key")
    return key


def _private(row: SigningKey) -> Ed25519PrivateKey:
    pem = crypto.unseal(row.sealed_private_key, context=_context(row.kid))
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("not an Ed25519 key")
    return key


def make_key(*, at: datetime) -> str:
    """Make a new signing key; from now on it signs. Older ones verify until they are retired.

    Returns its ``kid``. Other processes sign with it within 30 s.
    """
    kid = new_id("key")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with transaction.atomic():
        SigningKey.unscoped.create(
            kid=kid,
            sealed_private_key=crypto.seal(pem, context=_context(kid)),
            public_key=public.decode(),
            created_at=at,
        )
        audit.record(
            action="signing_key.made", actor=None, target_kind="signing_key", target_id=kid, at=at
        )
    keys.forget()
    return kid


def retire_key(kid: str, *, at: datetime) -> None:
    """End a signing key that somebody else may hold, and with it every token that it signed. If no
    other could sign, a new one is made. Other processes know within 30 s.

    Raises NotFound for a key that is not there or was retired before.
    """
    with transaction.atomic():
        if not SigningKey.unscoped.filter(pk=kid, retired_at=None).update(retired_at=at):
            raise NotFound("There is no such key, or it was retired before")
        audit.record(
            action="signing_key.retired",
            actor=None,
            target_kind="signing_key",
            target_id=kid,
            at=at,
        )
        if not SigningKey.unscoped.filter(retired_at=None).exists():
            make_key(at=at)
    keys.forget()


def jwks() -> dict[str, list[dict[str, Any]]]:
    """The public keys as a JWK Set (RFC 7517, RFC 8037)."""
    return {
        "keys": [
            {**OKPAlgorithm.to_jwk(key, as_dict=True), "kid": kid, "alg": ALGORITHM, "use": "sig"}
            for kid, key in keys.published().items()
        ]
    }


class _Backend(TokenBackend):
    """Signs with the newest key and names it; verifies with the key that a token names.

    Strict where the library is lenient: one algorithm, a known ``kid``, no ``crit`` (RFC 7515
    §4.1.11 demands refusal of extensions that are not understood).
    """

    def encode(self, payload: dict[str, Any]) -> str:
        kid, private = keys.signer()
        return jwt.encode(payload, private, algorithm=ALGORITHM, headers={"kid": kid})

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - the library's signature
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            public = keys.verifier(kid) if isinstance(kid, str) else None
            if public is None or "crit" in header or header.get("alg") != ALGORITHM:
                raise TokenBackendError("not signed by a key of this server")
            payload: dict[str, Any] = jwt.decode(
                token,
                public,
                algorithms=[ALGORITHM],
                issuer=settings.ROOCLOUD_TOKEN_ISSUER,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "nbf", "iss", "sub"]},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise TokenBackendError("invalid token") from error
        return payload


_backend = _Backend(ALGORITHM)


class SignedToken(Token):
    """simplejwt's Token with the claims of protocol/auth.md §9 in place of its own."""

    token_type = "auth"  # noqa: S105 - a kind, not a secret
    lifetime = SESSION_LIFETIME

    def __init__(self, token: Any = None, verify: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's signature
        if token is None:
            self.token = None
            self.current_time = timezone.now()
            self.payload: dict[str, Any] = {}
        else:
            super().__init__(token, verify)

    def verify(self) -> None:
        rights = self.payload.get("r")
        if self.payload.get("v") != VERSION or not isinstance(rights, dict):
            raise TokenError("not a token of this version")
        if rights.get("t") not in (TokenKind.SESSION, TokenKind.JOB):
            raise TokenError("unknown kind of token")
        if not isinstance(self.payload.get("sid"), str) or not isinstance(rights.get("u"), str):
            raise TokenError("claims missing")

    def set_jti(self) -> None:
        """There is none: ``sid`` names the row that ends a token."""

    def get_token_backend(self) -> TokenBackend:
        return _backend


def mint(session: ClientSession, *, organization_id: str | None, at: datetime) -> str:
    """A signed token for ``session``, good in one context (None: personal).

    Its life is ten minutes for an editor, else that of the session. Whether the session stands and
    the person belongs to the organization is the caller's to check (B4a).
    """
    expires_at = session.expires_at or at + SESSION_LIFETIME
    is_job = session.kind == ClientSession.Kind.JOB
    rights = {"u": session.user_id, "t": str(TokenKind.JOB if is_job else TokenKind.SESSION)}
    if organization_id:
        rights["o"] = organization_id
    now_s = int(at.timestamp())
    token = SignedToken()
    token.payload = {
        "iss": settings.ROOCLOUD_TOKEN_ISSUER,
        "sub": session.pk if is_job else session.user_id,
        "exp": int(expires_at.timestamp()),
        "iat": now_s,
        "nbf": now_s,
        "v": VERSION,
        "sid": session.pk,
        "k": session.kind,
        "r": rights,
    }
    return str(token)


def verify(token: str) -> Claims:
    """The claims of a token that this server signed and that has not expired.

    Says nothing about whether its session still stands. Raises InvalidToken.
    """
    try:
        payload = SignedToken(token).payload
    except TokenError:
        raise InvalidToken("This token is not valid or has expired") from None
    rights = payload["r"]
    kind = TokenKind(rights["t"])
    if kind is TokenKind.SESSION and payload.get("k") == ClientSession.Kind.CLI:
        kind = TokenKind.CLI
    return Claims(
        user_id=rights["u"],
        organization_id=rights.get("o") or None,
        session_id=payload["sid"],
        kind=kind,
        expires_at=payload["exp"],
    )
