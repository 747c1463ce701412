"""Every error body that this server sends, one shape per surface (protocol/README.md, "Error body
per surface")."""

import logging
import sys
from enum import Enum
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render as render_template
from kombu.exceptions import OperationalError as QueueError
from redis.exceptions import RedisError
from rest_framework import exceptions
from rest_framework.response import Response

from roocloud.lib.refusals import InvalidInput, NotFound, Refusal, Unavailable

logger = logging.getLogger(__name__)


class Surface(Enum):
    """Who reads the error."""

    CLERK = "/v1/"
    API = "/api/"
    PROXY = "/proxy/"
    TRPC = "/trpc/"
    PAGE = ""


_CODES = {
    400: "invalid_input",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
    503: "unavailable",
}
_SENTENCES = {
    400: "This request is not valid",
    403: "You may not do this",
    404: "Not found",
    405: "This method is not allowed here",
    413: "The request is too large",
    500: "Something went wrong on this server",
    503: "A part of this server is not available right now",
}
_TRPC_CODES = {
    400: ("BAD_REQUEST", -32600),
    401: ("UNAUTHORIZED", -32001),
    403: ("FORBIDDEN", -32003),
    404: ("NOT_FOUND", -32004),
    405: ("METHOD_NOT_SUPPORTED", -32005),
    429: ("TOO_MANY_REQUESTS", -32029),
}


def surface_of(path: str) -> Surface:
    """The surface that a canonical path belongs to; documentation pages are pages."""
    if path.startswith("/api/docs"):
        return Surface.PAGE
    for surface in Surface:
        if surface is not Surface.PAGE and f"{path}/".startswith(surface.value):
            return surface
    return Surface.PAGE


def body(
    surface: Surface, *, status: int, code: str, message: str, field: str | None = None
) -> Any:
    """The JSON of an error. ``field`` is the dotted path of the input at fault."""
    if surface is Surface.CLERK:
        error = {"code": code, "message": message, "long_message": message}
        return {"errors": [error | ({"meta": {"param_name": field}} if field else {})]}
    if surface is Surface.PROXY:
        return {
            "error": {"message": message, "type": code, "code": code}
            | ({"param": field} if field else {})
        }
    if surface is Surface.TRPC:
        name, number = _TRPC_CODES.get(status, ("INTERNAL_SERVER_ERROR", -32603))
        data = {"code": name, "httpStatus": status}
        return [{"error": {"json": {"message": name, "code": number, "data": data}}}]
    return {"success": False, "error": message, "code": code} | ({"field": field} if field else {})


def _message_for_person(refusal: Refusal) -> str:
    """With the field in front: the clients show the text and drop the other keys."""
    return f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message


def headers(refusal: Refusal) -> dict[str, str]:
    if refusal.retry_after_s is not None:
        return {"Retry-After": str(refusal.retry_after_s)}
    return {"Retry-After": "5"} if refusal.status == 503 else {}


def render_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
    """What a view raised, if it is an answer; None for a fault of ours."""
    if isinstance(exception, Http404):
        return None  # Django's own handling
    refusal = _as_refusal(exception)
    return render(request, refusal) if refusal else None


def render(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """A refusal as the surface of the request's path shows it."""
    surface = surface_of(request.path)
    if surface is Surface.PAGE:
        response = error_page(request, refusal.status, _message_for_person(refusal))
    else:
        content = body(
            surface,
            status=refusal.status,
            code=refusal.code,
            message=_message_for_person(refusal),
            field=refusal.field,
        )
        response = JsonResponse(content, status=refusal.status, safe=False)
    for name, value in headers(refusal).items():
        response.headers[name] = value
    return response


def api_exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: the same bodies for what is raised inside an API view."""
    request = context["request"]
    refusal = _as_refusal(exception)
    if refusal is None:
        return None  # a fault of ours: Django logs it and handler500 answers
    content = body(
        surface_of(request.path),
        status=refusal.status,
        code=refusal.code,
        message=_message_for_person(refusal),
        field=refusal.field,
    )
    return Response(content, status=refusal.status, headers=headers(refusal))


def _as_refusal(exception: Exception) -> Refusal | None:
    if isinstance(exception, Refusal):
        return exception
    if isinstance(exception, OperationalError | InterfaceError):
        logger.error("The database did not answer", exc_info=exception)
        return Unavailable("The database does not answer; try again in a moment")
    if isinstance(exception, DataError) and "NUL" in str(exception):  # PostgreSQL: in a query, say
        return InvalidInput("No text may hold a NUL character")
    if isinstance(exception, RedisError | QueueError):
        logger.error("The cache or the queue did not answer", exc_info=exception)
        return Unavailable("A part of this server does not answer; try again in a moment")
    if isinstance(exception, Http404):
        return NotFound("Not found")
    if isinstance(exception, PermissionDenied):
        exception = exceptions.PermissionDenied()
    if isinstance(exception, exceptions.APIException):
        refusal = Refusal(_SENTENCES.get(exception.status_code, str(exception.detail)))
        refusal.status = exception.status_code
        refusal.code = _CODES.get(exception.status_code, "refused")
        return refusal
    return None


def plain_error(surface: Surface, response: HttpResponse) -> HttpResponse:
    """An error that was not made by this module, in the shape of its surface."""
    status = response.status_code
    content = body(
        surface,
        status=status,
        code=_CODES.get(status, "server_error" if status >= 500 else "refused"),
        message=_SENTENCES.get(status, response.reason_phrase),
    )
    made = JsonResponse(content, status=status, safe=False)
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in response.headers:
            made.headers[name] = response.headers[name]
    return made


def error_page(request: HttpRequest, status: int, message: str = "") -> HttpResponse:
    """The page that people see."""
    if status >= 500:
        # Who asks is in the database, which may be what is down; the page is drawn for a stranger.
        request.user = AnonymousUser()
    return render_template(
        request,
        "errors/error.html",
        {
            "status": status,
            "title": _SENTENCES.get(status, "This did not work"),
            "message": message,
            "request_id": getattr(request, "request_id", ""),
        },
        status=status,
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls it while it handles the exception. What middleware raised, no view's handler has
    seen: a dependency that is down is 503 there too (E1)."""
    fault = sys.exc_info()[1]
    refusal = _as_refusal(fault) if isinstance(fault, Exception) else None
    return render(request, refusal) if refusal else error_page(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    message = "This form is out of date. Go back, reload the page and send it again."
    return error_page(request, 403, message)
