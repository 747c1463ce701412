"""The pages that an editor or the command line opens in the browser (protocol/auth.md §2, §10)."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import actions, editors, memberships, model_choices
from accounts.actors import Actor, web_actor
from accounts.contexts import in_context
from roocloud.lib.access import public, signed_in

#: How long an open hand-off page goes on making fresh tickets, in seconds.
HAND_OFF_OPEN_S = 600


def _read(request: HttpRequest) -> tuple[editors.Editor, str]:
    """The redirect target and the state of the page, checked."""
    asked = request.POST if request.method == "POST" else request.GET
    return (
        editors.find(asked.get("auth_redirect", "")),
        editors.checked_state(asked.get("state", "")),
    )


def _consent(request: HttpRequest, actor: Actor, **context: Any) -> HttpResponse:
    organizations = memberships.of(user_id=actor.user_id)
    chosen = actor.organization_id or ""
    return render(
        request,
        "accounts/consent.html",
        {"organizations": organizations, "chosen": chosen, **context},
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def editor_sign_in(request: HttpRequest, slug: str = "") -> HttpResponse:
    """``/extension/sign-in`` and ``/l/{slug}``: whatever the slug, it is the sign-in page."""
    return _editor_page(request, offers_model=False)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def provider_sign_up(request: HttpRequest) -> HttpResponse:
    """``/extension/provider-sign-up``: the same with a choice of model, which becomes the person's
    current profile in the editor."""
    return _editor_page(request, offers_model=True)


def _editor_page(request: HttpRequest, *, offers_model: bool) -> HttpResponse:
    editor, state = _read(request)
    actor = web_actor(request)
    if request.method != "POST":
        offered = model_choices.of(actor) if offers_model else []
        models = [(model, name) for model, name in offered if editors.is_plain_model(model)]
        return _consent(request, actor, editor=editor, state=state, models=models)
    chosen = in_context(actor, request.POST.get("organization", ""))
    model = request.POST.get("model", "") if offers_model else ""
    model = editors.checked_model(model) if model else ""
    code = actions.issue_ticket(by=chosen, editor=editor, state=state, at=timezone.now())
    return render(
        request,
        "accounts/hand_off.html",
        {
            "callback": editor.callback(
                code=code, state=state, organization_id=chosen.organization_id, model=model
            ),
            "editor": editor,
            "state": state,
            "organization": chosen.organization_id or "",
            "model": model,
            "open_s": HAND_OFF_OPEN_S,
        },
    )


@never_cache
@require_POST
@signed_in
def fresh_callback(request: HttpRequest) -> JsonResponse:
    """A callback URL with a fresh ticket, for a hand-off page that is still open: a ticket lives
    for a minute, a person may take longer. None once the editor has come for one."""
    editor, state = _read(request)
    actor = in_context(web_actor(request), request.POST.get("organization", ""))
    model = request.POST.get("model", "")
    model = editors.checked_model(model) if model else ""
    code = actions.renew_ticket(by=actor, editor=editor, state=state, at=timezone.now())
    url = code and editor.callback(
        code=code, state=state, organization_id=actor.organization_id, model=model
    )
    return JsonResponse({"url": url, **_outcome(actor, state)})


@never_cache
@require_safe
@signed_in
def hand_off_status(request: HttpRequest) -> JsonResponse:
    """Whether the editor has come for its ticket, and which editor it was."""
    state = editors.checked_state(request.GET.get("state", ""))
    return JsonResponse(_outcome(web_actor(request), state))


def _outcome(actor: Actor, state: str) -> dict[str, Any]:
    session = actions.redeemed_session(by=actor, state=state)
    return {"signed_in": session is not None, "label": session.label if session else ""}


_CLI_ERRORS = {
    "error-in-callback": "The sign-in was refused.",
    "missing-token": "The command line received no token.",
    "invalid-state-parameter": "The answer belonged to another sign-in. Start again.",
}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@public(reason="two of its faces report an outcome; the one that makes a token asks for a sign-in")
def cli_sign_in(request: HttpRequest) -> HttpResponse:
    """``/cli/sign-in``: start (``state`` and ``callback``), success, an error, or nothing."""
    asked = request.POST if request.method == "POST" else request.GET
    if "callback" in asked or "state" in asked:
        response: HttpResponse = _cli_start(request)
        return response
    error = request.GET.get("error", "")
    return render(
        request,
        "accounts/cli_outcome.html",
        {
            "succeeded": request.GET.get("success") == "true" and not error,
            "error": _CLI_ERRORS.get(error, "The sign-in did not work.") if error else "",
            "detail": request.GET.get("message", "")[:200] if error else "",
        },
        status=400 if error else 200,
    )


@signed_in
def _cli_start(request: HttpRequest) -> HttpResponse:
    asked = request.POST if request.method == "POST" else request.GET
    state = editors.checked_state(asked.get("state", ""))
    callback = asked.get("callback", "")
    port = editors.checked_loopback(callback)
    actor = web_actor(request)
    if request.method != "POST":
        return _consent(request, actor, state=state, callback=callback, port=port)
    if request.POST.get("decision") != "allow":
        answer = {"error": "access_denied", "state": state}
    else:
        chosen = in_context(actor, request.POST.get("organization", ""))
        token = actions.start_cli_session(
            by=chosen, user_agent=request.headers.get("User-Agent", ""), at=timezone.now()
        )
        answer = {"token": token, "state": state}
    # A page with a link and a script that follows it: the CSP forbids a form to end in a redirect
    # to another origin.
    url = f"{callback}?{urlencode(answer)}"
    return render(request, "accounts/cli_hand_off.html", {"callback": url})
