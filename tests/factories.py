"""Rows that tests start from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from allauth.usersessions.models import UserSession
from django.test import Client
from django.utils import timezone

from accounts import api_keys, tokens
from accounts.actors import Actor, TokenKind
from accounts.models import ClientSession, User
from credits import actions as credit
from credits.models import Account
from notifications.models import Subscription
from orgs.actions import create_organization
from orgs.models import Membership, Organization
from proxy.actions import NewPrice
from proxy.models import LanguageModel, Price, Route, Upstream
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.money import NANOS_PER_USD
from tests.fakes import push_service

PASSWORD = "correct horse battery"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def user(email: str, **fields: Any) -> User:
    return User.objects.create_user(email, PASSWORD, **fields)


def organization(name: str, *, owner: User, **people: User) -> Organization:
    """``organization("Acme", owner=alice, member=bob)``"""
    at = timezone.now()
    made = create_organization(name=name, owner=owner, by=actor(owner), at=at)
    Membership.unscoped.bulk_create(
        Membership(organization=made, user=person, role=role, created_at=at, updated_at=at)
        for role, person in people.items()
    )
    return made


def actor(
    person: User,
    org: Organization | None = None,
    *,
    kind: TokenKind = TokenKind.SESSION,
) -> Actor:
    """The person in a context, with the role that they hold there."""
    role = None
    if org is not None:
        role = Membership.unscoped.get(organization=org, user=person).role
    return Actor(person.pk, org.pk if org else None, role, kind, is_staff=person.is_staff)


def client_session(person: User, kind: str = "editor", **fields: Any) -> tuple[ClientSession, str]:
    """A live client session and its client token (empty for other kinds than editor)."""
    at = timezone.now()
    secret = new_secret("ct") if kind == "editor" else ""
    if kind != "editor":
        fields.setdefault("expires_at", at + tokens.CLI_LIFETIME)
    session = ClientSession.unscoped.create(
        user=person,
        kind=kind,
        client_token_hash=digest(secret) if secret else "",
        created_at=at,
        last_seen_at=at,
        **fields,
    )
    return session, secret


def api_key(
    person: User, org: Organization | None = None, *, name: str = "notebook", **facts: Any
) -> api_keys.Issued:
    """A key of the person for that context, and its secret."""
    return api_keys.make_key(
        by=actor(person, org), new=api_keys.NewKey(name, **facts), at=timezone.now()
    )


def bearer(person: User, org: Organization | None = None, kind: str = "editor") -> dict[str, str]:
    """Headers for Django's test client: ``client.get(url, headers=bearer(alice))``."""
    session, _ = client_session(person, kind)
    token = tokens.mint(session, organization_id=org.pk if org else None, at=timezone.now())
    return {"Authorization": f"Bearer {token}"}


def account(person: User, org: Organization | None = None, *, dollars: int = 1) -> Account:
    """The account that pays for the person there, with credit."""
    at = timezone.now()
    made = credit.account_of(user_id=person.pk, organization_id=org.pk if org else None, at=at)
    credit.grant(
        account=made, amount_nanos=dollars * NANOS_PER_USD, key="g", by=None, at=at, note=""
    )
    return made


def web_session(person: User) -> Any:
    """A browser that is signed in, as the list of devices knows it."""
    browser = Client()
    browser.force_login(person)
    return UserSession.objects.create(
        user=person, session_key=browser.session.session_key, ip="192.0.2.1", user_agent="Firefox"
    )


def subscription(person: User, endpoint: str = "", **facts: Any) -> Subscription:
    """A browser that takes notifications; of endpoints that are made up, each is another."""
    endpoint = endpoint or f"https://push.example/{new_secret('to')}"
    keys = push_service.Keys()
    if "session" not in facts:
        facts["session"] = web_session(person)
    facts.setdefault("label", "Firefox on Android")
    return Subscription.unscoped.create(
        user=person,
        endpoint=endpoint,
        endpoint_hash=digest(endpoint),
        p256dh=keys.p256dh,
        auth=keys.auth,
        created_at=timezone.now(),
        **facts,
    )


def job_token(person: User) -> str:
    """A token that opens the proxy, as client libraries take it for an API key."""
    return bearer(person, kind="job")["Authorization"].removeprefix("Bearer ")


def models(
    upstream: Upstream, names: Iterable[str], *, prefix: str, price: NewPrice, **facts: Any
) -> None:
    """What ``proxy.actions.put_model`` makes of each name, in three statements."""
    at = timezone.now()
    made = LanguageModel.unscoped.bulk_create(
        LanguageModel(model_id=f"{prefix}/{name}", name=name, created_at=at, **facts)
        for name in names
    )
    Route.unscoped.bulk_create(
        Route(model=model, upstream=upstream, upstream_model=model.name) for model in made
    )
    Price.unscoped.bulk_create(
        Price(
            model=model,
            valid_from=at,
            input_nanos_per_mtok=price.input,
            output_nanos_per_mtok=price.output,
            cache_read_nanos_per_mtok=price.cache_read,
            cache_write_nanos_per_mtok=price.cache_write,
        )
        for model in made
    )
