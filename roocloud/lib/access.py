"""Every route declares who may use it (A2). The decorators declare and enforce in one place; a
test walks the URLconf and fails on a view without a declaration."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse

Who = Literal[
    "public", "signed_in", "staff", "bearer", "client_token", "device", "operator", "signature"
]
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Access:
    """The rule of a route.

    who: public; signed_in (web session); staff (web session of a site administrator); bearer (one
    of ``kinds``); client_token (the editor's long-lived token, /v1 only); device (a token of a
    paired device, or the code to pair one); operator (a token of the settings, or this machine
    itself); signature (another server, which signs what it sends).
    reason: for public routes, why nobody needs to be known.
    kinds: token kinds that open a bearer route.
    """

    who: Who
    reason: str = ""
    kinds: frozenset[str] = frozenset()


def declared(view: Any) -> Access | None:
    """The rule that a resolved view (function, class-based or DRF) carries, if any."""
    for carrier in (view, getattr(view, "view_class", None), getattr(view, "cls", None)):
        access = getattr(carrier, "access", None)
        if isinstance(access, Access):
            return access
    return None


def _carry(view: Any, access: Access) -> Any:
    view.access = access
    return view


def public(*, reason: str) -> Callable[[View], View]:
    """Anyone may call it. ``reason`` says why that is right."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            response: HttpResponseBase = view(request, *args, **kwargs)
            return response

        return _carry(wrapped, Access("public", reason))  # type: ignore[no-any-return]

    return decorate


def signed_in(view: View) -> View:
    """A web session is required; without one the browser goes through the sign-in page first."""
    return _carry(login_required(view), Access("signed_in"))  # type: ignore[no-any-return]


def staff(view: View) -> View:
    """For site administrators, who get in where the admin lets them in (L4). To everybody else who
    is signed in the page does not exist."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not request.user.is_staff:
            raise Http404
        if not admin.site.has_permission(request):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        response: HttpResponseBase = view(request, *args, **kwargs)
        return response

    return _carry(wrapped, Access("staff"))  # type: ignore[no-any-return]


def bearer_checked(access: Access) -> Callable[[View], View]:
    """Declares the rule of a plain view that authenticates its bearer by itself, because its
    refusals have a shape of their own. The access walk holds it to its word."""

    def decorate(view: View) -> View:
        return _carry(view, access)  # type: ignore[no-any-return]

    return decorate
