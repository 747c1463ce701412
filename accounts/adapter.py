"""How allauth asks this room."""

import logging
from typing import Any
from urllib.parse import urlencode, urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.utils import get_next_redirect_url
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import HttpRequest
from django.shortcuts import render
from django.utils import timezone

from accounts import invitations, single_sign_on, traces
from accounts.issuers import IssuerSession
from roocloud.lib import crypto, sealed

logger = logging.getLogger(__name__)

#: Where they are stored. allauth names no row or person to the adapter, so the column alone.
SECOND_FACTORS = "mfa.authenticator.data"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """``open`` for everybody; ``invitation`` for whoever opened the link of an invitation in
        this browser that is still live; ``closed`` for nobody (ROOCLOUD_SIGNUP)."""
        if settings.ROOCLOUD_SIGNUP == "open":
            return True
        return settings.ROOCLOUD_SIGNUP == "invitation" and invitations.pending(request) is not None

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """With the way back to the page that asked for the confirmation, such as an invitation."""
        url = str(super().get_email_confirmation_url(request, emailconfirmation))
        back = get_next_redirect_url(request)
        return f"{url}?{urlencode({'next': back})}" if back else url

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        site = {
            "name": settings.ROOCLOUD_PRODUCT_NAME,
            "domain": urlsplit(settings.ROOCLOUD_PUBLIC_URL).netloc,
        }
        super().send_mail(template_prefix, email, {**context, "current_site": site})

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            traces.locked_out(email=_typed(credentials), at=timezone.now())
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        traces.sign_in_failed(email=_typed(credentials), at=timezone.now())

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Failed sign-ins are counted per account alone (B6): with the host in the key, each name
        of this server would allow as many again."""
        return _typed(credentials)


def _typed(credentials: dict[str, Any]) -> str:
    """The address that somebody signs in with."""
    return str(credentials.get("email", "")).lower()


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """A passkey belongs to the host and is listed under the product's name."""
        return {
            **super().get_public_key_credential_rp_entity(),
            "name": settings.ROOCLOUD_PRODUCT_NAME,
        }

    def encrypt(self, text: str) -> str:
        """Secrets of second factors are sealed at rest (I2): a dump signs nobody in."""
        return crypto.seal(text, context=SECOND_FACTORS)

    def decrypt(self, encrypted_text: str) -> str:
        """Raises crypto.CannotUnseal."""
        return crypto.unseal(encrypted_text, context=SECOND_FACTORS).decode()


def renewed(row: Any) -> dict[str, Any] | None:
    """The data of a second factor; see roocloud.lib.sealed."""

    def again(text: str) -> str:
        return sealed.renewed(text, context=SECOND_FACTORS) or text

    data = dict(row.data)
    for key in {"secret", "seed"} & set(data):
        data[key] = again(data[key])
    if "migrated_codes" in data:
        data["migrated_codes"] = [again(code) for code in data["migrated_codes"]]
    return None if data == row.data else data


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[Any]:
        """Those of the operator; and by its name alone, the single sign-on of an organization."""
        found: list[Any] = super().list_apps(request, provider=provider, client_id=client_id)
        connection = single_sign_on.connection(provider) if provider else None
        return [*found, _app(connection)] if connection else found

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """An organization's issuer speaks for its domains alone, and is connected to an account
        that has such an address by nobody but its owner (B7)."""
        provider_id = sociallogin.account.provider
        if not single_sign_on.is_organizations(provider_id):
            return
        connection, named = single_sign_on.connection(provider_id), _named(sociallogin)
        is_theirs = connection is not None and connection.speaks_for(named)
        if is_theirs and sociallogin.state.get("process") == AuthProcess.CONNECT:
            mine = EmailAddress.objects.filter(user=request.user, verified=True)
            is_theirs = mine.filter(email__in=named).exists()
        if not is_theirs:
            context = {"domains": sorted(connection.domains) if connection else []}
            page = render(request, "accounts/not_for_you.html", context, status=403)
            raise ImmediateHttpResponse(page)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """As above; an invitation is for the address that the provider has verified (B7). Whom an
        organization's single sign-on speaks for has an account by it."""
        if single_sign_on.is_organizations(sociallogin.account.provider):
            return True  # pre_social_login has looked at the address
        if not AccountAdapter().is_open_for_signup(request):
            return False
        if settings.ROOCLOUD_SIGNUP == "open":
            return True
        offer, email = invitations.pending(request), sociallogin.user.email.lower()
        verified = {a.email.lower() for a in sociallogin.email_addresses if a.verified}
        return offer is not None and email in verified and offer.is_for(email)

    def authenticate_by_email(self, sociallogin: Any) -> tuple[Any, str] | None:
        """The account that a trusted provider's verified address signs in to
        (ROOCLOUD_TRUSTED_PROVIDERS), if that account has verified the address as well: else whoever
        signed up with somebody's address would be waiting in the account of theirs (B7)."""
        provider_id = sociallogin.account.provider
        if single_sign_on.is_organizations(provider_id):
            connection = single_sign_on.connection(provider_id)
            if connection is None or not connection.speaks_for(_named(sociallogin)):
                return None  # asked before pre_social_login refuses
        found: tuple[Any, str] | None = super().authenticate_by_email(sociallogin)
        if found is None:
            return None
        user, email = found
        ours = EmailAddress.objects.filter(user=user, email__iexact=email, verified=True)
        return found if ours.exists() else None

    def validate_disconnect(self, account: Any, accounts: Any) -> None:
        """Raises ValidationError for an account of a provider that this server no longer has."""
        try:
            account.get_provider(self.request)
        except ObjectDoesNotExist:
            raise ValidationError("This provider is switched off here.") from None

    def get_requests_session(self) -> Any:
        """A session that answers the person with a page when the provider fails: allauth looks for
        that only once they came back from there."""
        match = self.request.resolver_match
        named = match.kwargs.get("provider_id", "") if match else ""
        is_organizations = single_sign_on.is_organizations(named)
        session: Any = IssuerSession() if is_organizations else super().get_requests_session()
        ask = session.request

        def request(method: str, url: str, **options: Any) -> Any:
            try:
                answer = ask(method, url, **options)
                answer.raise_for_status()
            except OSError as error:  # whatever goes wrong with a request is one
                logger.warning("a sign-in provider failed", extra={"reason": str(error)})
                page = render(self.request, "socialaccount/authentication_error.html", status=502)
                raise ImmediateHttpResponse(page) from error
            return answer

        session.request = request
        return session


def _named(sociallogin: Any) -> set[str]:
    """The addresses that a provider says are the person's, in lower case."""
    return {address.email.lower() for address in sociallogin.email_addresses}


def _app(connection: single_sign_on.Connection) -> Any:
    """As allauth takes a provider; never saved."""
    from allauth.socialaccount.models import SocialApp

    return SocialApp(
        provider="openid_connect",
        provider_id=connection.provider_id,
        name=connection.name,
        client_id=connection.client_id,
        secret=connection.secret,
        settings={
            "server_url": connection.issuer,
            "verified_email": sorted(connection.domains),
            "email_authentication": True,
            "oauth_pkce_enabled": True,
        },
    )
