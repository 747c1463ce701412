"""The web pages where the parts of an organization's settings are edited.

What is entered is kept as the person's draft until it is looked at and saved.
"""

import json

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import user_settings
from orgs import actions, clients, documents, fields
from orgs.desk import Desk, desk
from orgs.models import Membership, SettingsDraft
from orgs.settings_forms import AllowListForm, Json, StructForm, part_of, parts_of
from orgs.settings_pages import settings_page
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import InvalidInput

_KEPT = "Kept. It is in force when you save it for all."


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_section(request: HttpRequest, organization_id: str, section: str) -> HttpResponse:
    """``/organizations/{id}/settings/edit/{section}``: the form of one part."""
    at = desk(request, organization_id)
    chosen = fields.BY_SLUG.get(section)
    if chosen is None:
        raise Http404
    if section in ("profiles", "mcps"):
        return _list_page(request, at, chosen)
    before = at.started_from(_read_version(request, at))
    data = request.POST if request.method == "POST" else None
    form: StructForm | AllowListForm = (
        AllowListForm(before, data)
        if section == "models"
        else StructForm(parts_of(chosen), before, data)
    )
    if form.is_bound and form.is_valid():
        try:
            _keep(request, at, form.applied())
        except InvalidInput as refusal:
            form.refuse(refusal)
        else:
            return _onward(request, at, section)
    shows_all = not isinstance(form, StructForm) or form.is_bound or form.shows_all()
    context = {"section": chosen, "form": form, "shows_all": shows_all}
    return settings_page(
        request, at, "orgs/settings_section.html", context, status=400 if form.errors else 200
    )


def _list_page(request: HttpRequest, at: Desk, section: fields.Section) -> HttpResponse:
    settings = documents.load(at.document)
    context = {
        "section": section,
        "profiles": clients.profiles_run(settings),
        "mcps": at.document.get("mcps", []),
        "providers": [("roo", "This server (roo)"), *_providers()],
    }
    return settings_page(request, at, "orgs/settings_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_profile(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/profile?name=``: one provider profile; without a name, a new
    one of ``?provider=``."""
    at = desk(request, organization_id)
    before = at.started_from(_read_version(request, at))
    profiles: dict[str, Json] = before.get("providerProfiles", {})
    name = request.GET.get("name")
    if name is not None and name not in profiles:
        raise Http404
    provider = request.POST.get("apiProvider") or request.GET.get("provider", "")
    profile = profiles[name] if name is not None else {"apiProvider": provider or "roo"}
    shown = provider or profile.get("apiProvider", "")
    infos = [
        info.encode_name
        for info in fields.profile_fields()
        if info.encode_name in profile or fields.is_of_provider(info.encode_name, shown)
    ]
    data = request.POST if request.method == "POST" else None
    form = StructForm(part_of(documents.ProviderProfile, infos), profile, data)
    form.fields["profile_name"] = forms.CharField(label="Name", max_length=200, initial=name)
    form.order_fields(["profile_name"])
    others = {key: value for key, value in profiles.items() if key != name}
    if request.POST.get("do") == "remove":
        _keep(request, at, {**before, "providerProfiles": others})
        return _onward(request, at, "profiles")
    if form.is_bound and form.is_valid() and request.POST.get("do") != "show":
        entered = form.cleaned_data["profile_name"]
        if entered in others:
            form.add_error("profile_name", "There is another profile of this name.")
        else:
            try:
                changed = {**others, entered: form.applied()}
                _keep(request, at, {**before, "providerProfiles": changed})
            except InvalidInput as refusal:
                form.refuse(refusal, inside="providerProfiles[...].")
            else:
                return _onward(request, at, "profiles")
    context = {"section": fields.BY_SLUG["profiles"], "form": form, "name": name}
    status = 400 if form.errors and request.POST.get("do") != "show" else 200
    return settings_page(request, at, "orgs/settings_item.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_mcp(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/mcp?index=``: one MCP server; without an index, a new one."""
    at = desk(request, organization_id)
    before = at.started_from(_read_version(request, at))
    mcps: list[Json] = list(before.get("mcps", []))
    given = request.GET.get("index", "")
    index = int(given) if given.isdecimal() and int(given) < len(mcps) else None
    if given and index is None:
        raise Http404
    data = request.POST if request.method == "POST" else None
    form = StructForm(part_of(documents.Mcp), mcps[index] if index is not None else {}, data)
    if index is not None and request.POST.get("do") == "remove":
        del mcps[index]
        _keep(request, at, {**before, "mcps": mcps})
        return _onward(request, at, "mcps")
    if form.is_bound and form.is_valid():
        place = len(mcps) if index is None else index
        mcps[place : place + 1] = [form.applied()]
        try:
            _keep(request, at, {**before, "mcps": mcps})
        except InvalidInput as refusal:
            form.refuse(refusal, inside=f"mcps[{place}].")
        else:
            return _onward(request, at, "mcps")
    name = mcps[index]["name"] if index is not None else None
    context = {"section": fields.BY_SLUG["mcps"], "form": form, "name": name}
    return settings_page(
        request, at, "orgs/settings_item.html", context, status=400 if form.errors else 200
    )


@require_safe
@signed_in
def preview_settings(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/preview``: the answer that a member's editor gets, now or from
    one's draft or a proposal, and what each client makes of it."""
    at = desk(request, organization_id)
    members = Membership.objects.visible_to(at.actor).filter(organization=at.organization)
    choices = [
        (member.user_id, f"{member.user.name} ({member.user.email})")
        for member in members.select_related("user").order_by("user__email", "pk")
    ]
    member_id = request.GET.get("member") or at.actor.user_id
    if member_id not in dict(choices):
        raise Http404
    of, document = _previewed(request, at)
    answer = {
        "organization": {"version": at.current.version, **document},
        "user": user_settings.look(user_id=member_id),
    }
    context = {
        "members": choices,
        "member_id": member_id,
        "of": of,
        "answer": json.dumps(answer, indent=2, ensure_ascii=False),
        "verdicts": clients.verdicts(document),
        "profiles": clients.profiles_run(documents.load(document)),
    }
    return settings_page(request, at, "orgs/settings_preview.html", context)


def _previewed(request: HttpRequest, at: Desk) -> tuple[str, Json]:
    """Which document is meant, and it."""
    of = request.GET.get("of") or ("mine" if at.draft else "now")
    if of == "now" or (of == "mine" and at.draft is None):
        now: Json = at.current.document
        return "now", now
    if of == "mine":
        return of, at.document
    rows = SettingsDraft.objects.visible_to(at.actor).waiting()
    found = get_object_or_404(rows.filter(organization=at.organization), pk=of)
    document: Json = found.document
    return of, document


def _keep(request: HttpRequest, at: Desk, document: Json) -> None:
    actions.keep_draft(
        organization=at.organization,
        document=document,
        read_version=_read_version(request, at),
        by=at.actor,
        at=timezone.now(),
    )


def _onward(request: HttpRequest, at: Desk, section: str) -> HttpResponse:
    if request.POST.get("do") == "review":
        return redirect("review-settings", at.organization.pk)
    messages.success(request, _KEPT)
    return redirect("settings-section", at.organization.pk, section)


def _read_version(request: HttpRequest, at: Desk) -> int:
    """Of the page that is sent back; else that of what is edited now."""
    given = request.POST.get("read_version", "")
    return int(given) if given.isdecimal() and len(given) < 19 else at.read_version


def _providers() -> list[tuple[str, str]]:
    return [(name, name) for name in fields.providers() if name != "roo"]
