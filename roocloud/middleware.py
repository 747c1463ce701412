"""What wraps every request that Django answers."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import HttpResponseRedirectBase
from django.shortcuts import render
from django.utils.decorators import sync_only_middleware
from django.utils.http import url_has_allowed_host_and_scheme

from roocloud import errors
from roocloud.lib.addresses import client_address, network_of
from roocloud.lib.ids import new_id
from roocloud.lib.paths import confidential_headers
from roocloud.lib.refusals import NotFound
from roocloud.lib.whence import Whence, coming_from

GetResponse = Callable[[HttpRequest], HttpResponseBase]
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")


@sync_only_middleware
def confidential(get_response: GetResponse) -> GetResponse:
    """The headers of what shows a conversation or a link to one, whatever the status (J4). The
    first of all, so that what other middleware answers carries them too."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        for name, value in confidential_headers(request.path).items():
            response.headers[name] = value
        return response

    return middleware


@sync_only_middleware
def request_id(get_response: GetResponse) -> GetResponse:
    """Give the request an id (or keep a proper one from the reverse proxy) and answer with it; what
    is written down of the request names it, and the network that it came from."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        request.request_id = given if _REQUEST_ID.match(given) else new_id("req")  # type: ignore[attr-defined]
        forwarded = request.headers.get("X-Forwarded-For", "")
        network = network_of(client_address(request.META.get("REMOTE_ADDR", ""), forwarded))
        with coming_from(Whence(network, request.request_id)):  # type: ignore[attr-defined]
            response = get_response(request)
        response.headers.setdefault("X-Request-ID", request.request_id)  # type: ignore[attr-defined]
        return response

    return middleware


@sync_only_middleware
def json_errors(get_response: GetResponse) -> GetResponse:
    """Errors below the client-facing prefixes are JSON in the shape that the surface promises, also
    those that Django makes before or beside a view (a share's 404 without a JSON body would prevent
    the backfill, trap 25)."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        surface = errors.surface_of(request.path)
        if (
            response.status_code >= 400
            and surface is not errors.Surface.PAGE
            and isinstance(response, HttpResponse)
            and not response.headers.get("Content-Type", "").startswith("application/json")
        ):
            return errors.plain_error(surface, response)
        return response

    return middleware


@sync_only_middleware
def leave_by_page(get_response: GetResponse) -> GetResponse:
    """A form that ends at another origin, such as a sign-in by a provider, is answered with a page
    that follows a link there. The CSP forbids a form to end in a redirect to another origin, and
    browsers hold every further redirect to it as well, so no list of origins would be complete."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if (
            request.method == "POST"
            and isinstance(response, HttpResponseRedirectBase)
            and not url_has_allowed_host_and_scheme(response.url, request.get_host())
        ):
            target = {"url": response.url, "host": urlsplit(response.url).hostname}
            return render(request, "leave.html", target)
        return response

    return middleware


@sync_only_middleware
def storable_cookies(get_response: GetResponse) -> GetResponse:
    """Drop cookies with a NUL: none of ours has one, and PostgreSQL fails on looking it up."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.COOKIES = {k: v for k, v in request.COOKIES.items() if "\0" not in v}
        return get_response(request)

    return middleware


class _Refusals:
    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # No id of ours has a NUL, and PostgreSQL fails on a look-up by one.
        if "\0" in request.path:
            return errors.render(request, NotFound("Not found"))
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        """A refusal that a rule raised and no view caught."""
        return errors.render_exception(request, exception)


refusals = sync_only_middleware(_Refusals)
