"""The command line's one call, ``auth.me``, in tRPC's batch form (protocol/auth.md §10.3)."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.actors import TokenKind
from accounts.bearer import authenticate
from accounts.models import User
from roocloud.lib.access import Access, bearer_checked
from roocloud.lib.refusals import Unauthenticated

KINDS = frozenset({TokenKind.CLI, TokenKind.SESSION, TokenKind.JOB})
MAX_CALLS = 10
_ERRORS = {
    401: ("UNAUTHORIZED", -32001),
    404: ("NOT_FOUND", -32004),
    400: ("BAD_REQUEST", -32600),
}


def _failure(status: int, path: str) -> dict[str, Any]:
    name, code = _ERRORS[status]
    data = {"code": name, "httpStatus": status, "path": path}
    return {"error": {"json": {"message": name, "code": code, "data": data}}}


def _success(user: User) -> dict[str, Any]:
    joined = user.date_joined.isoformat()
    return {
        "type": "user",
        "user": {
            "id": user.pk,
            "name": user.name,
            "email": user.email,
            "imageUrl": None,
            "entity": {
                "id": user.pk,
                "username": None,
                "image_url": "",
                "first_name": user.first_name,
                "last_name": user.last_name,
                "email_addresses": [{"email_address": user.email}],
                "public_metadata": {},
            },
            "publicMetadata": {},
            "stripeCustomerId": None,
            "lastSyncAt": joined,
            "deletedAt": None,
            "createdAt": joined,
            "updatedAt": joined,
        },
    }


def _call(path: str, request: HttpRequest) -> tuple[int, dict[str, Any]]:
    if path != "auth.me":
        return 404, _failure(404, path)
    try:
        actor = authenticate(request.headers.get("Authorization"), kinds=KINDS, at=timezone.now())
    except Unauthenticated:
        return 401, _failure(401, path)
    user = User.objects.get(pk=actor.user_id)
    return 200, {"result": {"data": {"json": _success(user)}}}


@require_safe
@bearer_checked(Access("bearer", kinds=frozenset(KINDS)))
def trpc(request: HttpRequest, paths: str) -> JsonResponse:
    """``GET /trpc/a.b,c.d?batch=1``: one element a call, 207 for mixed outcomes. Without ``batch``
    the one element stands bare."""
    asked = paths.split(",")
    if len(asked) > MAX_CALLS:
        return JsonResponse([_failure(400, "")], status=400, safe=False)
    answers = [_call(path, request) for path in asked]
    statuses = {status for status, _ in answers}
    status = statuses.pop() if len(statuses) == 1 else 207
    bodies = [body for _, body in answers]
    is_batch = request.GET.get("batch") == "1"
    return JsonResponse(bodies if is_batch else bodies[0], status=status, safe=False)
