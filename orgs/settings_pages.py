"""The web pages of an organization's settings as a whole: what is in force, what would change, the
text of it, and its history.

They run code on every member's computer, so a change is made in three steps (O1): look at the
difference, show who you are again, save exactly what was looked at.
"""

from collections.abc import Mapping

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from orgs import actions, texts
from orgs.desk import Desk, desk, seal, was_shown
from orgs.fields import SECTIONS
from orgs.forms import NoteForm, RestoreForm, TextForm, described
from orgs.models import SettingsRevision
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import InvalidInput

_CONFLICT = (
    "Somebody saved these settings since you began. Bring your changes onto their version, and "
    "look at the difference again."
)
_NOT_SEEN = "This is not what you last looked at. Look at the difference before you save it."
_RESTORED_MEANWHILE = (
    "Somebody saved these settings since you opened them. Below is the difference to their version."
)
PAGE = 10


@require_safe
@signed_in
def organization_settings(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings``: what is in force, what waits, and the history."""
    at = desk(request, organization_id)
    revisions = SettingsRevision.unscoped.filter(organization=at.organization)
    page = Paginator(revisions.order_by("-version"), PAGE).get_page(request.GET.get("page"))
    people = {r.made_by_id for r in page} | {r.approved_by_id for r in page}
    context = {"page": page, "names": names(people | {d.author_id for d in at.waiting})}
    return settings_page(request, at, "orgs/settings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_text(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/text``: the whole document as JSON or YAML, or from a file."""
    at = desk(request, organization_id)
    chosen: texts.Form = "yaml" if request.GET.get("form") == "yaml" else "json"
    if request.method != "POST":
        shown = texts.write(at.document, chosen)
        form = TextForm(
            initial={"document": shown, "form": chosen, "read_version": at.read_version}
        )
        return settings_page(
            request, at, "orgs/settings_text.html", {"form": form, "notation": chosen}
        )
    form = TextForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            actions.keep_draft(
                organization=at.organization,
                document=form.cleaned_data["value"],
                read_version=form.cleaned_data["read_version"],
                by=at.actor,
                at=timezone.now(),
            )
            return redirect("review-settings", at.organization.pk)
        except InvalidInput as refusal:
            field = "file" if form.cleaned_data.get("file") else "document"
            form.add_error(field, described(refusal))
    context = {"form": form, "notation": request.POST.get("form", "json")}
    return settings_page(request, at, "orgs/settings_text.html", context, status=400)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def review(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/review``: what one's changes come to; save them or propose."""
    at = desk(request, organization_id)
    if request.method != "POST" or at.draft is None:
        return _review_page(request, at)
    done = request.POST.get("do")
    if done == "discard":
        actions.discard_draft(organization=at.organization, by=at.actor)
        messages.success(request, "Your changes are gone.")
        return redirect("organization-settings", at.organization.pk)
    if done == "update":
        return _bring_up_to_date(request, at, at.draft.pk)
    if at.is_stale:
        return _review_page(request, at, complaint=_CONFLICT, status=409)
    form = NoteForm(request.POST)
    if not form.is_valid():
        return _review_page(request, at, form=form, status=400)
    read_version = form.cleaned_data["read_version"]
    if not was_shown(
        form.cleaned_data["previewed"], at.actor, at.organization, read_version, at.document
    ):
        return _review_page(request, at, form=form, complaint=_NOT_SEEN, status=409)
    act = _propose if at.organization.settings_need_approval else _save
    response: HttpResponse = act(request, at, form)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _save(request: HttpRequest, at: Desk, form: NoteForm) -> HttpResponse:
    try:
        actions.save_draft(
            organization=at.organization,
            read_version=form.cleaned_data["read_version"],
            by=at.actor,
            note=form.cleaned_data["note"],
            at=timezone.now(),
        )
    except actions.VersionConflict:
        return _review_page(request, at, form=form, complaint=_CONFLICT, status=409)
    except InvalidInput as refusal:
        return _review_page(request, at, form=form, complaint=described(refusal), status=400)
    messages.success(request, "Saved. Editors read it within the hour.")
    return redirect("organization-settings", at.organization.pk)


def _propose(request: HttpRequest, at: Desk, form: NoteForm) -> HttpResponse:
    try:
        draft = actions.propose_draft(
            organization=at.organization,
            read_version=form.cleaned_data["read_version"],
            by=at.actor,
            note=form.cleaned_data["note"],
            at=timezone.now(),
        )
    except actions.VersionConflict:
        return _review_page(request, at, form=form, complaint=_CONFLICT, status=409)
    messages.success(request, "Proposed. Another owner or admin decides about it.")
    return redirect("settings-draft", at.organization.pk, draft.pk)


def _bring_up_to_date(request: HttpRequest, at: Desk, draft_id: str) -> HttpResponse:
    try:
        actions.bring_up_to_date(draft_id=draft_id, by=at.actor, at=timezone.now())
    except InvalidInput as refusal:
        complaint = f"Both together are no valid settings. {described(refusal)}"
        return _review_page(request, at, complaint=complaint, status=409)
    messages.success(request, f"Your changes now follow version {at.current.version}.")
    return redirect("review-settings", at.organization.pk)


def _review_page(
    request: HttpRequest,
    at: Desk,
    *,
    form: NoteForm | None = None,
    complaint: str = "",
    status: int = 200,
) -> HttpResponse:
    """The difference to the version in force now."""
    if at.is_stale:
        complaint = complaint or _CONFLICT
    shown = {
        "read_version": at.current.version,
        "previewed": seal(at.actor, at.organization, at.current.version, at.document),
    }
    if form is None:
        form = NoteForm(initial=shown)
    else:
        form.data = {**form.cleaned_data, **shown}
    context = {
        "form": form,
        "complaint": complaint,
        "diff": texts.difference(at.current.document, at.document),
    }
    return settings_page(request, at, "orgs/settings_review.html", context, status=status)


@require_safe
@signed_in
def settings_version(request: HttpRequest, organization_id: str, version: int) -> HttpResponse:
    """``/organizations/{id}/settings/{version}``: what a version changed."""
    at = desk(request, organization_id)
    rows = SettingsRevision.unscoped.filter(organization=at.organization)
    found = get_object_or_404(rows, pk=version)
    before = rows.filter(pk=found.previous_version or 0).first()
    context = {
        "revision": found,
        "names": names({found.made_by_id, found.approved_by_id}),
        "diff": texts.difference(before.document, found.document) if before else [],
        "text": texts.write(found.document, "json"),
    }
    return settings_page(request, at, "orgs/settings_version.html", context)


@require_safe
@signed_in
def export_settings(request: HttpRequest, organization_id: str) -> HttpResponse:
    """``/organizations/{id}/settings/export``: the version in force as a file."""
    at = desk(request, organization_id)
    form: texts.Form = "yaml" if request.GET.get("form") == "yaml" else "json"
    name = f"{slugify(at.organization.name) or 'settings'}-{at.current.version}.{form}"
    return HttpResponse(
        texts.write(at.current.document, form),
        content_type=f"application/{form}",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def roll_back(request: HttpRequest, organization_id: str, version: int) -> HttpResponse:
    """Look at an earlier version beside the present one, and bring it back."""
    at = desk(request, organization_id)
    rows = SettingsRevision.unscoped.filter(organization=at.organization)
    earlier = get_object_or_404(rows, pk=version)
    if request.method != "POST":
        return _restore_page(request, at, earlier)
    if request.POST.get("do") == "edit":
        actions.discard_draft(organization=at.organization, by=at.actor)
        actions.keep_draft(
            organization=at.organization,
            document=earlier.document,
            read_version=at.current.version,
            by=at.actor,
            at=timezone.now(),
        )
        return redirect("review-settings", at.organization.pk)
    form = RestoreForm(request.POST)
    if not form.is_valid() or not was_shown(
        form.cleaned_data["previewed"],
        at.actor,
        at.organization,
        form.cleaned_data["read_version"],
        earlier.document,
    ):
        return _restore_page(request, at, earlier, complaint=_NOT_SEEN)
    response: HttpResponse = _restore(request, at, earlier, form)
    return response


@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
def _restore(
    request: HttpRequest, at: Desk, earlier: SettingsRevision, form: RestoreForm
) -> HttpResponse:
    try:
        actions.roll_back(
            organization=at.organization,
            to_version=earlier.version,
            read_version=form.cleaned_data["read_version"],
            by=at.actor,
            at=timezone.now(),
        )
    except actions.VersionConflict:
        return _restore_page(request, at, earlier, complaint=_RESTORED_MEANWHILE)
    messages.success(request, f"Version {earlier.version} is in force again, as a new version.")
    return redirect("organization-settings", at.organization.pk)


def _restore_page(
    request: HttpRequest, at: Desk, earlier: SettingsRevision, *, complaint: str = ""
) -> HttpResponse:
    version = at.current.version
    shown = seal(at.actor, at.organization, version, earlier.document)
    context = {
        "earlier": earlier,
        "complaint": complaint,
        "form": RestoreForm(initial={"read_version": version, "previewed": shown}),
        "diff": texts.difference(at.current.document, earlier.document),
    }
    status = 409 if complaint else 200
    return settings_page(request, at, "orgs/roll_back.html", context, status=status)


def settings_page(
    request: HttpRequest,
    at: Desk,
    template: str,
    context: Mapping[str, object],
    *,
    status: int = 200,
) -> HttpResponse:
    """A page of the settings, with what all of them show."""
    shared = {"desk": at, "organization": at.organization, "sections": SECTIONS}
    return render(request, template, {**shared, **context}, status=status)


def names(user_ids: set[str]) -> dict[str, str]:
    """Name and address of people, by id; who is gone is absent. One query."""
    people = get_user_model().objects.filter(pk__in=user_ids - {""})
    return {person.pk: f"{person.name} ({person.email})" for person in people}
