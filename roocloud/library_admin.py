"""What libraries register in the admin, replaced by lists to look at. Their own classes show second
factors and tokens in the clear, and add a verified address to anybody."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.models import Group

from roocloud.lib.admin import ReadOnlyAdmin


class EmailAddressAdmin(ReadOnlyAdmin[EmailAddress]):
    list_display = ("email", "user", "verified", "primary")
    list_filter = ("verified", "primary")
    list_select_related = ("user",)
    search_fields = ("=email", "=user__email")
    ordering = ("email", "id")
    fields = list_display


class AuthenticatorAdmin(ReadOnlyAdmin[Authenticator]):
    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    date_hierarchy = "created_at"
    search_fields = ("=user__email",)
    ordering = ("-created_at", "id")
    fields = list_display  # never ``data``: the secret


class UserSessionAdmin(ReadOnlyAdmin[UserSession]):
    list_display = ("user", "ip", "user_agent", "created_at", "last_seen_at")
    list_select_related = ("user",)
    list_filter = ("last_seen_at",)
    date_hierarchy = "created_at"
    search_fields = ("=user__email", "=ip")
    ordering = ("-last_seen_at", "id")
    fields = list_display  # never ``session_key``: with it one is that person


class SocialAccountAdmin(ReadOnlyAdmin[SocialAccount]):
    list_display = ("user", "provider", "uid", "last_login", "date_joined")
    list_select_related = ("user",)
    list_filter = ("provider",)
    date_hierarchy = "date_joined"
    search_fields = ("=user__email", "=uid")
    ordering = ("-date_joined", "id")
    fields = list_display


#: Providers are set by the environment, their tokens are not kept, and groups not used.
HIDDEN = (SocialApp, SocialToken, Group)
SHOWN = {
    EmailAddress: EmailAddressAdmin,
    Authenticator: AuthenticatorAdmin,
    UserSession: UserSessionAdmin,
    SocialAccount: SocialAccountAdmin,
}


def replace() -> None:
    """Called once, after every room and library has registered."""
    admin.site.unregister([*HIDDEN, *SHOWN])
    for model, admin_class in SHOWN.items():
        admin.site.register(model, admin_class)
