"""The one place that turns a credential into an Actor (B3), and the DRF views behind it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import memberships, tokens
from accounts.actors import Actor, KeyGrant, TokenKind
from accounts.models import ApiKey, ClientSession
from roocloud.lib.access import Access
from roocloud.lib.fresh import Fresh
from roocloud.lib.ids import digest
from roocloud.lib.refusals import Unauthenticated
from roocloud.lib.text import clean_label

#: Every signed token. What a session token opens, a CLI and a job token open too.
API_KINDS = frozenset({TokenKind.SESSION, TokenKind.CLI, TokenKind.JOB})
#: What opens models and completions: API keys too, and these open nothing else.
PROXY_KINDS = API_KINDS | {TokenKind.API_KEY}
#: The literal that a signed-out editor sends (protocol/proxy.md §2).
ANONYMOUS = "unauthenticated"
_RIGHTS_FRESH = timedelta(seconds=5)  # B4: a cache that holds rights lives at most five seconds
_MAX_TOKEN_CHARS = 4096
_SEEN_EVERY = timedelta(minutes=1)


def bearer_value(header: str | None) -> str | None:
    """The token of an ``Authorization: Bearer …`` header; None if there is none to speak of."""
    scheme, _, value = (header or "").strip().partition(" ")
    value = value.strip()
    if scheme.lower() != "bearer" or value in ("", ANONYMOUS):
        return None
    return value


def presented(authorization: str | None, x_api_key: str | None) -> str | None:
    """The ``Authorization`` header of a request to /proxy; of one without a token there, such as
    Anthropic's clients make, what its ``x-api-key`` stands for."""
    if x_api_key and bearer_value(authorization) is None:
        return f"Bearer {x_api_key}"
    return authorization


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, as far as its person is shown. network: see lib.addresses."""

    network: str = ""
    app: str = ""  # its User-Agent


_NOWHERE = Origin()

rights_cache: Fresh[str, Actor] = Fresh(age=_RIGHTS_FRESH)


def authenticate(
    header: str | None,
    *,
    at: datetime,
    kinds: frozenset[TokenKind] = API_KINDS,
    origin: Origin = _NOWHERE,
) -> Actor:
    """Who sends this ``Authorization`` header, with the rights that they have now.

    The client session or the API key behind the token, the person and the membership in its
    organization must stand; what was found may be up to five seconds old (B4).
    origin: for the last use of an API key.

    Raises Unauthenticated.
    """
    token = bearer_value(header)
    if token is None:
        raise Unauthenticated("Sign in: this needs an Authorization: Bearer header")
    if len(token) > _MAX_TOKEN_CHARS:
        raise tokens.InvalidToken("This token is not valid or has expired")
    key = digest(token)
    actor = rights_cache.get(key, at=at)
    if actor is None:
        if tokens.is_signed(token):
            actor = _actor_of(tokens.verify(token), at=at)
        elif TokenKind.API_KEY in kinds:
            actor = _actor_of_key(key, origin, at=at)
        else:
            raise tokens.InvalidToken("This token is not valid here")
        rights_cache.put(key, actor, at=at)
    if actor.kind not in kinds:
        raise tokens.InvalidToken("This kind of token does not open this route")
    return actor


def cached_actor(
    header: str | None, *, at: datetime, kinds: frozenset[TokenKind] = API_KINDS
) -> Actor | None:
    """What ``authenticate`` found for this header within the last five seconds. No I/O."""
    token = bearer_value(header)
    if token is None or len(token) > _MAX_TOKEN_CHARS:
        return None
    actor = rights_cache.get(digest(token), at=at)
    return actor if actor is not None and actor.kind in kinds else None


def _actor_of(claims: tokens.Claims, *, at: datetime) -> Actor:
    session = (
        ClientSession.unscoped.alive(at)
        .filter(pk=claims.session_id, user_id=claims.user_id, user__is_active=True)
        .select_related("user")
        .first()
    )
    if session is None:
        raise tokens.InvalidToken("The sign-in behind this token has ended")
    role = _role(claims.user_id, claims.organization_id, signed_on=session.proofs)
    touch(session, at=at)
    return Actor(
        user_id=claims.user_id,
        organization_id=claims.organization_id,
        role=role,
        kind=claims.kind,
        session_id=session.pk,
        is_staff=False,  # site administration is for web sessions alone
    )


def _actor_of_key(secret_hash: str, origin: Origin, *, at: datetime) -> Actor:
    key = ApiKey.unscoped.of_secret(secret_hash, at=at).filter(user__is_active=True).first()
    if key is None:
        raise tokens.InvalidToken("This API key is not valid")
    if (state := key.state(at)) != ApiKey.State.ACTIVE:
        raise tokens.InvalidToken(f"This API key is {state.label.lower()}")
    organization_id = key.organization_id or None
    role = _role(key.user_id, organization_id)
    _touch_key(key, origin, at=at)
    return Actor(
        user_id=key.user_id,
        organization_id=organization_id,
        role=role,
        kind=TokenKind.API_KEY,
        key=KeyGrant(key.pk, key.name, frozenset(key.model_ids)),
    )


def _role(
    user_id: str, organization_id: str | None, *, signed_on: frozenset[str] | None = None
) -> str | None:
    """The role held now; None for a personal account. Raises InvalidToken for who has left, and for
    whom the organization asks for its single sign-on."""
    if organization_id is None:
        return None
    role = memberships.role_of(
        user_id=user_id, organization_id=organization_id, signed_on=signed_on
    )
    if role is None:
        raise tokens.InvalidToken("The membership behind this token has ended")
    return role


def _touch_key(key: ApiKey, origin: Origin, *, at: datetime) -> None:
    if key.last_used_at is None or at - key.last_used_at >= _SEEN_EVERY:
        ApiKey.unscoped.filter(pk=key.pk).update(
            last_used_at=at,
            last_used_network=origin.network,
            last_used_app=clean_label(origin.app, 100),
        )


def touch(session: ClientSession, *, at: datetime) -> None:
    """Note that the session was used, at most once a minute."""
    if at - session.last_seen_at >= _SEEN_EVERY:
        ClientSession.unscoped.filter(pk=session.pk).update(last_seen_at=at)


def authenticate_client_token(header: str | None, *, at: datetime) -> ClientSession:
    """The live editor session of a client token, with its user. Raises Unauthenticated."""
    token = bearer_value(header)
    session = token and (
        ClientSession.unscoped.alive(at)
        .filter(client_token_hash=digest(token), user__is_active=True)
        .select_related("user")
        .first()
    )
    if not session:
        raise Unauthenticated("This client token is not valid or was revoked")
    return session


class BearerView(APIView):
    """A JSON route for signed tokens of the listed kinds; ``self.actor`` asks."""

    kinds: ClassVar[frozenset[TokenKind]] = API_KINDS
    access: ClassVar[Access] = Access("bearer", kinds=frozenset(API_KINDS))
    authentication_classes = ()
    permission_classes = ()
    actor: Actor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.access = Access("bearer", kinds=frozenset(cls.kinds))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        header = request.headers.get("Authorization")
        self.actor = authenticate(header, kinds=self.kinds, at=timezone.now())
        super().initial(request, *args, **kwargs)


class ClientTokenView(APIView):
    """A Clerk-compatible route for the editor's client token; ``self.client_session`` asks."""

    access: ClassVar[Access] = Access("client_token")
    authentication_classes = ()
    permission_classes = ()
    client_session: ClientSession
    actor: Actor

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        header = request.headers.get("Authorization")
        self.client_session = authenticate_client_token(header, at=timezone.now())
        self.actor = Actor(
            user_id=self.client_session.user_id,
            organization_id=None,
            role=None,
            kind=TokenKind.CLIENT,
            session_id=self.client_session.pk,
        )
        super().initial(request, *args, **kwargs)


class PublicApiView(APIView):
    """A JSON route for anybody. Subclasses state why in ``access = Access("public", reason)``."""

    authentication_classes = ()
    permission_classes = ()
