"""``/api/bridge``: editors and commands over HTTP, by the rules of the socket.

A bearer reads. Commands need the web session of a page of ours, young and strong enough, as over
the socket (R2): a token that an editor or a script holds commands no editor.
"""

from typing import Any, ClassVar

from asgiref.sync import async_to_sync
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor, TokenKind, web_actor
from accounts.bearer import API_KINDS, authenticate
from bridge import command_events, commands, overview, tokens, waiting
from bridge.models import Command
from bridge.overview import Editor
from bridge.schemas import AnyCommand, Id
from bridge.sockets import Bridge
from bridge.tokens import Standing
from roocloud.lib import wire
from roocloud.lib.access import Access
from roocloud.lib.openapi import OBJECT, json_body
from roocloud.lib.refusals import (
    Forbidden,
    InvalidInput,
    NotFound,
    Refusal,
    Unauthenticated,
    Unavailable,
)
from roocloud.lib.text import clean_label

_HEADER = "Idempotency-Key"
_KEY = OpenApiParameter(_HEADER, location="header", description="In place of `commandId`.")
_BY_BEARER = Standing("", why_not="Commands need a sign-in in a browser")

_bridges: list[Bridge] = []


def serve(bridge: Bridge) -> None:
    """Name the bridge of this process, over which commands go out; called once, at its start."""
    _bridges[:] = [bridge]


def serving() -> Bridge | None:
    """The bridge of this process, where it runs one."""
    return _bridges[0] if _bridges else None


class KeyReused(Refusal):
    status, code = 422, "idempotency_key_reused"


class _View(APIView):
    """A route for bearers and for browsers; ``self.actor`` asks, and may command as far as
    ``self.standing`` says."""

    access: ClassVar[Access] = Access("bearer", kinds=frozenset(API_KINDS))
    authentication_classes = ()
    permission_classes = ()
    actor: Actor
    standing: Standing

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if "Authorization" in request.headers:
            self.actor = authenticate(request.headers["Authorization"], at=timezone.now())
            self.standing = _BY_BEARER
        else:
            self._enter_by_cookie(request)
        super().initial(request, *args, **kwargs)

    def _enter_by_cookie(self, request: Request) -> None:
        asked = request._request
        if not asked.user.is_authenticated:
            raise Unauthenticated("Sign in, or send an Authorization: Bearer header")
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            SessionAuthentication().enforce_csrf(request)  # R3
        self.actor = web_actor(asked)
        [standing] = tokens.web_standings([asked.session.session_key or ""], at=timezone.now())
        self.standing = standing or _BY_BEARER


class Instances(_View):
    """``GET /api/bridge/instances``: the person's editors, as the first page of ``/roomote``."""

    @extend_schema(operation_id="api_bridge_instances_list", responses=OBJECT)
    def get(self, request: Request) -> Response:
        found = overview.editors(self.actor, at=timezone.now())
        return Response({"instances": [_editor(one) for one in found]})


class OneInstance(_View):
    """``GET /api/bridge/instances/{instanceId}``"""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request, instance_id: str) -> Response:
        found = overview.find(self.actor, instance_id, at=timezone.now())
        if found is None:
            raise NotFound("Not found")
        return Response({"instance": _editor(found)})


def _editor(editor: Editor) -> dict[str, Any]:
    """state: needs, running, idle or offline. isConnected: its socket stands."""
    return {
        "instanceId": editor.instance_id,
        "state": editor.state,
        "isConnected": editor.state != "offline" and not editor.is_lost,
        "lastSeenAt": editor.row.last_seen_at,
        "watchedBy": list(editor.watchers),
        "instance": editor.snapshot,
    }


class Commands(_View):
    """``POST /api/bridge/commands``: once to one editor. The same id again is the same command."""

    @extend_schema(request=json_body(AnyCommand), parameters=[_KEY], responses=OBJECT)
    def post(self, request: Request) -> Response:
        if not self.standing.may_command:
            raise Forbidden(self.standing.why_not)
        command: AnyCommand = wire.read(request._request.body, AnyCommand)  # type: ignore[arg-type]  # mypy takes no union for a type
        if (key := request.headers.get(_HEADER)) is not None:
            command.command_id = _checked(key)
        device = clean_label(request.headers.get("User-Agent", ""), 200)
        answer = async_to_sync(_give)(command, by=self.standing, device=device)
        return _answered(answer)


def _checked(key: str) -> str:
    try:
        return wire.convert(key, Id)
    except InvalidInput:
        raise InvalidInput("must be 1 to 128 characters", field=_HEADER) from None


async def _give(command: AnyCommand, *, by: Standing, device: str) -> dict[str, Any]:
    """On the event loop of the sockets, from which the view was called."""
    if not _bridges:
        raise Unavailable("No bridge runs here", retry_after_s=5)
    return await command_events.give(_bridges[0].hub(), command, by=by, device=device)


def _answered(answer: dict[str, Any]) -> Response:
    match answer.get("error"):
        case None:
            return Response(answer, status=202)
        case "unavailable":
            raise Unavailable("This server cannot take commands right now", retry_after_s=2)
        case commands.KEY_REUSED:
            words = "was used for another command; every command needs a key of its own"
            raise KeyReused(words, field=_HEADER)
        case _:  # it was not sent
            return Response(answer, status=409)


class OneCommand(_View):
    """``GET /api/bridge/commands/{commandId}``: what became of it. ``DELETE``: take back the start
    of a task that waits."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request, command_id: str) -> Response:
        row = Command.objects.visible_to(self.actor).filter(pk=command_id).first()
        if row is None:
            raise NotFound("Not found")
        return Response(_receipt(row))

    @extend_schema(responses=OBJECT)
    def delete(self, request: Request, command_id: str) -> Response:
        if self.actor.kind is not TokenKind.WEB:
            raise Forbidden(_BY_BEARER.why_not)
        row = waiting.cancel(command_id=command_id, by=self.actor, at=timezone.now())
        return Response(_receipt(row))


def _receipt(row: Command) -> dict[str, Any]:
    return {
        "success": True,
        **command_events.outcome(row),
        "givenAt": row.given_at,
        "sentAt": row.sent_at,
        "settledAt": row.settled_at,
    }
