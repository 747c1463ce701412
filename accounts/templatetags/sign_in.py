"""What the sign-in pages say."""

from allauth.account.adapter import get_adapter
from allauth.account.utils import passthrough_next_redirect_url
from allauth.core import context
from django import template
from django.urls import reverse

register = template.Library()


@register.simple_tag
def may_sign_up() -> bool:
    """Whether this visitor may make an account (ROOCLOUD_SIGNUP)."""
    return bool(get_adapter().is_open_for_signup(context.request))


@register.simple_tag
def password_reset_url() -> str:
    """The page to reset a password on, which afterwards goes where the sign-in was going. allauth
    renders the help below the password without a request, so the present one is asked."""
    url = reverse("account_reset_password")
    return str(passthrough_next_redirect_url(context.request, url, "next"))
