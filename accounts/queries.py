"""Reads of people and their sign-ins, for pages."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from allauth.account.models import EmailAddress
from django.contrib.auth.models import Permission
from django.db.models import Count, Max, Q
from django.db.models.functions import TruncDate

from accounts.actors import Actor
from accounts.models import ApiKey, ClientSession, User


def has_client(actor: Actor, *, at: datetime) -> bool:
    """Whether an editor, a command line or a job of the person is signed in."""
    return ClientSession.objects.visible_to(actor).alive(at).exists()


@dataclass(frozen=True, slots=True)
class Client:
    """A sign-in outside of the browser. name: such as ``VS Code``."""

    name: str
    seen_at: datetime


def last_client(actor: Actor, *, at: datetime) -> Client | None:
    """Of the editors, command lines and jobs that are signed in, the one that was heard of last."""
    rows = ClientSession.objects.visible_to(actor).alive(at).order_by("-last_seen_at", "pk")
    found = rows.first()
    return Client(found.label or found.get_kind_display(), found.last_seen_at) if found else None


def email_of(user_id: str) -> str | None:
    """The address of a person whose account is active."""
    return User.objects.filter(pk=user_id, is_active=True).values_list("email", flat=True).first()


def active_emails(user_ids: Iterable[str]) -> dict[str, str]:
    """Addresses by id, of active accounts alone."""
    rows = User.objects.filter(pk__in=set(user_ids), is_active=True)
    return dict(rows.values_list("pk", "email"))


def addresses(user_id: str) -> set[str]:
    """Every address of a person."""
    known = set(EmailAddress.objects.filter(user_id=user_id).values_list("email", flat=True))
    return known | set(User.objects.filter(pk=user_id).values_list("email", flat=True))


def lock(user_id: str) -> None:
    """Let whoever changes things of this person wait for the end of the caller's transaction."""
    User.objects.select_for_update().filter(pk=user_id).first()


def verified_emails(user_id: str) -> set[str]:
    """The addresses that the person has proven to be theirs, in lower case."""
    rows = EmailAddress.objects.filter(user_id=user_id, verified=True)
    return {email.lower() for email in rows.values_list("email", flat=True)}


def names(user_ids: Iterable[str]) -> dict[str, str]:
    """What people are called, by id; no query for none. Ids that are nobody's are left out."""
    ids = set(user_ids)
    if not ids:
        return {}
    return {person.pk: person.name for person in User.objects.filter(pk__in=ids)}


def emails(user_ids: Iterable[str]) -> dict[str, str]:
    """Addresses by id, also of accounts that are closed."""
    rows = User.objects.filter(pk__in=set(user_ids))
    return dict(rows.values_list("pk", "email"))


def may(user_id: str, permission: str) -> bool:
    """Whether a person, whose account is active, holds a permission such as ``room.verb_thing``."""
    person = User.objects.filter(pk=user_id, is_active=True).first()
    return person is not None and person.has_perm(permission)


def staff_who_may(permission: str) -> list[str]:
    """Ids of the site administrators who hold a permission."""
    room, _, codename = permission.partition(".")
    its = Q(content_type__app_label=room, codename=codename)
    holding = Permission.objects.filter(its).values("pk")
    rows = User.objects.filter(is_active=True, is_staff=True).filter(
        Q(is_superuser=True) | Q(user_permissions__in=holding) | Q(groups__permissions__in=holding)
    )
    return list(rows.order_by("pk").values_list("pk", flat=True).distinct())


def last_used(organization_id: str, user_ids: Collection[str]) -> dict[str, datetime]:
    """When each of the people last used an editor, a command line, a job token or an API key in an
    organization; who never did is left out. To the minute. Two queries."""
    signed_in = ClientSession.unscoped.filter(organization_id=organization_id)
    keys = ApiKey.unscoped.filter(organization_id=organization_id).exclude(last_used_at=None)
    found: dict[str, datetime] = {}
    for rows, field in ((signed_in, "last_seen_at"), (keys, "last_used_at")):
        newest = rows.filter(user_id__in=user_ids).order_by().values_list("user_id")
        for user_id, used_at in newest.annotate(used_at=Max(field)):
            found[user_id] = max(used_at, found.get(user_id, used_at))
    return found


def dashboard_days(since: datetime) -> Sequence[Mapping[str, object]]:
    """A row a day since ``since``: accounts that were made."""
    return list(
        User.objects.filter(date_joined__gte=since)
        .annotate(day=TruncDate("date_joined"))
        .values("day")
        .order_by("day")
        .annotate(users=Count("pk"))
    )


def totals(*, at: datetime) -> dict[str, int]:
    """People, and sign-ins outside the browser that are alive."""
    return {
        "users": User.objects.filter(is_active=True).count(),
        "sessions": ClientSession.unscoped.alive(at).count(),
    }
