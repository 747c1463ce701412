"""The account: devices and sessions, tokens, context."""

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import actions, erasure, memberships
from accounts.actors import ORGANIZATION_KEY, web_actor
from accounts.contexts import in_context
from accounts.forms import JobTokenForm, NameForm
from accounts.models import ClientSession
from roocloud.lib.access import signed_in
from roocloud.lib.agents import browser_name


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def account(request: HttpRequest) -> HttpResponse:
    """``/account``: the person's names, and the way to everything else of theirs."""
    form = NameForm(request.POST or None, instance=request.user)  # type: ignore[arg-type]  # behind @signed_in
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("account")
    actor = web_actor(request)
    context = {"form": form, "erasure": erasure.pending(actor.user_id)}
    return render(request, "accounts/account.html", context)


@never_cache
@require_safe
@signed_in
def devices(request: HttpRequest) -> HttpResponse:
    """``/account/devices``: every place where the person is signed in."""
    actor = web_actor(request)
    sessions = (
        ClientSession.objects.visible_to(actor)
        .alive(timezone.now())
        .order_by("-last_seen_at", "pk")
    )
    names = {m.organization_id: m.organization_name for m in memberships.of(user_id=actor.user_id)}
    browsers = UserSession.objects.purge_and_list(request.user)
    return render(
        request,
        "accounts/devices.html",
        {
            "sessions": [(session, names.get(session.organization_id, "")) for session in sessions],
            "browsers": [(row, browser_name(row.user_agent)) for row in browsers],
            "current_key": request.session.session_key,
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def end_session(request: HttpRequest, session_id: str) -> HttpResponse:
    """Ask, then end one editor, command line or job token."""
    actor = web_actor(request)
    session = get_object_or_404(ClientSession.objects.visible_to(actor), pk=session_id)
    if request.method == "POST":
        actions.end_session(session=session, by=actor, at=timezone.now())
        messages.success(request, f"{session} is signed out.")
        return redirect("devices")
    return render(request, "accounts/end_session.html", {"session": session})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def end_all_sessions(request: HttpRequest) -> HttpResponse:
    """Ask, then end everything but this browser."""
    if request.method == "POST":
        actor = web_actor(request)
        ended = actions.end_other_sessions(by=actor, at=timezone.now())
        actions.end_browsers(user_id=actor.user_id, except_key=request.session.session_key)
        messages.success(request, f"{ended} editors, command lines and tokens are signed out.")
        return redirect("devices")
    return render(request, "accounts/end_session.html", {"session": None})


@require_POST
@signed_in
def end_browser(request: HttpRequest, pk: int) -> HttpResponse:
    """End another browser's session."""
    browser = get_object_or_404(UserSession, pk=pk, user=request.user)
    browser.end()
    messages.success(request, "That browser is signed out.")
    return redirect("devices")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_token(request: HttpRequest) -> HttpResponse:
    """``/account/tokens/new``: a job token for CI or an editor without a browser; shown once."""
    actor = web_actor(request)
    organizations = memberships.of(user_id=actor.user_id)
    form = JobTokenForm(request.POST or None, organizations=organizations)
    token = ""
    if request.method == "POST" and form.is_valid():
        token = actions.make_job_token(
            by=in_context(actor, form.cleaned_data["organization"]),
            name=form.cleaned_data["name"],
            lifetime=timedelta(days=int(form.cleaned_data["days"])),
            at=timezone.now(),
        )
    return render(request, "accounts/new_token.html", {"form": form, "token": token})


@require_POST
@signed_in
def switch_context(request: HttpRequest) -> HttpResponse:
    """Choose the organization, or the personal account, that the web pages show."""
    chosen = in_context(web_actor(request), request.POST.get("organization", ""))
    request.session[ORGANIZATION_KEY] = chosen.organization_id or ""
    back = request.POST.get("next", "/")
    return redirect(back if url_has_allowed_host_and_scheme(back, allowed_hosts=None) else "/")
