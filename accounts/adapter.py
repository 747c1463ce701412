"""How allauth asks this room."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts import invitations


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """``open`` for everybody; ``invitation`` for whoever opened a live invitation link in this
        browser; ``closed`` for nobody (ROOCLOUD_SIGNUP)."""
        if settings.ROOCLOUD_SIGNUP == "open":
            return True
        return settings.ROOCLOUD_SIGNUP == "invitation" and invitations.pending(request) is not None

    def clean_email(self, email: str) -> str:
        """Raises ValidationError for another address than the invited one (B7)."""
        cleaned = str(super().clean_email(email)).lower()
        if settings.ROOCLOUD_SIGNUP == "invitation" and cleaned != invitations.pending(
            self.request
        ):
            raise ValidationError("This is not the address that was invited.")
        return cleaned


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return AccountAdapter().is_open_for_signup(request)
