"""What of this room, and of the libraries that it signs people in with, is about a person (L3)."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry

from accounts.models import (
    ApiKey,
    ClientSession,
    Erasure,
    Ticket,
    User,
    UserSettings,
    UserSettingsRevision,
)
from roocloud.lib import personal
from roocloud.lib.personal import Holding

_HASHES = "only hashes and dates, for a minute"


def declare() -> None:
    person = personal.rows_of(
        User, "pk", ("id", "email", "first_name", "last_name", "date_joined", "last_login")
    )
    personal.declare(Holding(User, "id", person, _blank))
    personal.declare(Holding(User, "email", None, None, "the same row"))
    personal.owned(
        ClientSession, "user", "kind", "label", "user_agent", "created_at", "last_seen_at"
    )
    personal.owned(ApiKey, "user", "name", "note", "created_at", "last_used_at", "last_used_app")
    personal.elsewhere(ApiKey, "paused_by_id", reason="the key is its owner's")
    personal.owned(Ticket, "user", reason=_HASHES)
    personal.owned(UserSettings, "user", "version", "document", "updated_at")
    personal.owned(UserSettingsRevision, "user", "version", "document", "made_at")
    personal.owned(EmailAddress, "user", "email", "verified", "primary")
    personal.elsewhere(EmailAddress, "email", reason="the same row")
    personal.owned(Authenticator, "user", "type", "created_at", "last_used_at")
    personal.owned(UserSession, "user", "ip", "user_agent", "created_at", "last_seen_at")
    personal.owned(SocialAccount, "user", "provider", "uid", "date_joined", "extra_data")
    personal.owned(LogEntry, "user", "action_time", "object_repr", "change_message")
    personal.kept(Erasure, "user", "asked_at", "due_at", reason="that it was done, and when")
    personal.obstacle(_last_administrator)


def _blank(user_id: str) -> None:
    """The row stays, for what points at it; nothing in it says whose it was."""
    user = User.objects.get(pk=user_id)
    user.email, user.first_name, user.last_name = f"{user.pk}@erased.invalid".lower(), "", ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.last_login = None
    user.set_unusable_password()
    user.save()


def _last_administrator(user_id: str) -> str | None:
    administrators = User.objects.filter(is_staff=True, is_superuser=True, is_active=True)
    is_last = administrators.filter(pk=user_id).exists() and administrators.count() == 1
    return "This server has no other administrator: make somebody one first." if is_last else None
