"""What a new deployment needs before its first request: tables, and somebody who may administer."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts import actions as accounts
from accounts.actors import shell_actor
from orgs import actions as orgs

DEFAULT_EMAIL = "admin@localhost.localdomain"
DEFAULT_ORGANIZATION = "My team"


@dataclass(frozen=True, slots=True)
class Administrator:
    """password: as generated, to be shown once; None if the operator chose it."""

    email: str
    password: str | None


def ensure_administrator(*, email: str, password: str, at: datetime) -> Administrator | None:
    """Make the first administrator with one organization; None if the deployment has one already.

    email, password: the operator's choice; empty for a default address and a generated password.
    """
    with transaction.atomic():
        if accounts.has_administrator():
            return None
        email = email or DEFAULT_EMAIL
        generated = "" if password else secrets.token_urlsafe(12)
        user = accounts.make_user(email=email, password=password or generated, is_staff=True, at=at)
        orgs.create_organization(name=DEFAULT_ORGANIZATION, owner=user, by=shell_actor(user), at=at)
    return Administrator(email, generated or None)
