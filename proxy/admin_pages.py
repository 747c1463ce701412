"""Two pages of an upstream in the admin: the models that it lists, and whether it works."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from accounts.actors import web_actor
from audit import actions as audit
from proxy import actions, dialects, imports, listings, probe
from proxy.imports import Change
from proxy.listings import Listed, ListPrice
from proxy.models import LanguageModel, Route, Upstream
from roocloud.lib import wire
from roocloud.lib.money import usd_to_nanos
from roocloud.lib.refusals import InvalidInput, Refusal

_PER_PAGE = 50
_MAY_TEST = ("proxy.change_upstream",)
_MAY_IMPORT = ("proxy.change_upstream", "proxy.add_languagemodel", "proxy.change_languagemodel")
_MTOK = "USD per million tokens"
#: Class of a price -> its label and unit.
_CLASSES = {
    "input": ("Input", _MTOK),
    "output": ("Output", _MTOK),
    "cache_read": ("Cached input", _MTOK),
    "cache_write": ("Cache write", _MTOK),
    "image": ("Each image", "USD"),
}
#: Those that models of a kind have.
_CLASSES_OF = {
    LanguageModel.Kind.LANGUAGE: ("input", "output", "cache_read", "cache_write"),
    LanguageModel.Kind.EMBEDDING: ("input",),
    LanguageModel.Kind.IMAGE: ("image", "input", "output", "cache_read"),
}
#: Those that must be given, except that an image may cost by the piece alone.
_NEEDED = ("input", "output")


def may_test(request: HttpRequest) -> bool:
    """Whether the person may have the upstream asked whether it works."""
    return request.user.has_perms(_MAY_TEST)


def may_import(request: HttpRequest) -> bool:
    """Whether the person may take models and prices from its list."""
    return request.user.has_perms(_MAY_IMPORT)


@dataclass(frozen=True, slots=True)
class Field:
    """A price that can be typed. value: USD per million tokens, or for an image, as text."""

    name: str
    label: str
    unit: str
    value: str


@dataclass(frozen=True, slots=True)
class Row:
    """A change as the page shows it. record: the listed model, which comes back with the form, so
    that what was shown is what is taken."""

    change: Change
    prices: list[Field]
    record: str
    is_chosen: bool

    @property
    def kind(self) -> str:
        """In words, for models that are on no editor's list."""
        kind = LanguageModel.Kind(self.change.kind)
        return "" if kind == LanguageModel.Kind.LANGUAGE else str(kind.label)

    @property
    def present(self) -> str:
        return imports.price_text(self.change.present)

    @property
    def about(self) -> str:
        """What the list says of a new model beside its price."""
        listed, words = self.change.listed, []
        if listed.price and imports.is_free(listed.price):
            words.append("Free of charge.")
        if listed.context_window:
            words.append(f"Context: {listed.context_window:,} tokens.")
        if listed.tags:
            words.append(f"Tags: {', '.join(listed.tags)}.")
        return " ".join(words)


def models_page(request: HttpRequest, object_id: str) -> HttpResponse:
    """What the upstream lists beside what is offered; what is chosen is taken."""
    if not may_import(request):
        raise PermissionDenied
    upstream = _upstream(object_id)
    complaint = ""
    if request.method == "POST":
        try:
            taken = _take_chosen(request, upstream)
        except InvalidInput as refusal:
            complaint = refusal.message
        else:
            messages.success(request, f"{taken} taken. Prices count from now on.")
            return HttpResponseRedirect(f"{request.path}{_asked(request)}")
    changes, trouble = _changes(upstream, request.GET)
    page = Paginator(changes, _PER_PAGE).get_page(request.GET.get("p"))
    chooses_all = request.GET.get("chosen") == "all"
    typed = request.POST if complaint else {}
    context = {
        **_frame(request, upstream, f"Models of {upstream.name}"),
        "rows": [
            _row(number, change, typed=typed, chooses_all=chooses_all)
            for number, change in enumerate(page.object_list)
        ],
        "page": page,
        "trouble": trouble,
        "complaint": complaint,
        "q": request.GET.get("q", ""),
        "shows_all": request.GET.get("show") == "all",
        "links": _links(request, page),
    }
    return TemplateResponse(request, "proxy/upstream_models.html", context)


def test_page(request: HttpRequest, object_id: str) -> HttpResponse:
    """Whether the upstream works, in words; asked by POST alone."""
    if not may_test(request):
        raise PermissionDenied
    upstream = _upstream(object_id)
    report, model = None, request.POST.get("model", "").strip()
    if request.method == "POST":
        report = probe.examine(upstream, model=model)
        audit.record(
            action="upstream.tested",
            actor=web_actor(request),
            target_kind="upstream",
            target_id=upstream.pk,
            after={"model": model[:200], **{step.name: step.state for step in report.steps}},
            at=timezone.now(),
        )
    routes = Route.unscoped.filter(upstream=upstream).order_by("upstream_model")
    known = list(routes.values_list("upstream_model", flat=True))
    listed = [entry.id for entry in report.listed] if report else []
    context = {
        **_frame(request, upstream, f"Test {upstream.name}"),
        "report": report,
        "model": model,
        "choices": sorted({*known, *listed[:1000]}),
        "has_list": bool(dialects.of(upstream).models_url(upstream.base_url)),
        "may_import": may_import(request),
    }
    return TemplateResponse(request, "proxy/upstream_test.html", context)


def _upstream(object_id: str) -> Upstream:
    found = Upstream.unscoped.filter(pk=unquote(object_id)).first()
    if found is None:
        raise Http404
    return found


def _frame(request: HttpRequest, upstream: Upstream, title: str) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "opts": Upstream._meta,
        "upstream": upstream,
        "upstream_id": quote(upstream.pk),
    }


def _changes(upstream: Upstream, asked: Mapping[str, str]) -> tuple[list[Change], str]:
    """The changes that the page is asked for, and why the upstream did not tell them itself."""
    provider = listings.provider_at(upstream.base_url)
    known = listings.seed().get(provider, []) if provider else []
    trouble = ""
    try:
        listed = listings.completed_by(probe.models_of(upstream), known)
    except Refusal as refusal:
        listed, trouble = known, refusal.message
    wanted = asked.get("q", "").strip()
    changes = imports.differences(
        upstream,
        listed,
        at=timezone.now(),
        filters=[wanted if "*" in wanted else f"*{wanted}*"] if wanted else (),
        is_complete=not trouble,
    )
    if asked.get("show") != "all":
        changes = [change for change in changes if change.state != "same"]
    return changes, trouble


def _row(number: int, change: Change, *, typed: Mapping[str, str], chooses_all: bool) -> Row:
    listed = change.price or change.present
    prices = []
    for name in _CLASSES_OF[LanguageModel.Kind(change.kind)]:
        label, unit = _CLASSES[name]
        nanos = getattr(listed, name) if listed else None
        shown = "" if nanos is None else imports.usd(nanos)
        field = f"{name}-{number}"
        prices.append(Field(field, label, unit, typed.get(field, shown)))
    record = msgspec.structs.replace(change.listed, kind=change.kind)
    is_chosen = f"take-{number}" in typed or (
        chooses_all and change.is_takeable and not change.is_disputed
    )
    return Row(change, prices, msgspec.json.encode(record).decode(), is_chosen)


def _links(request: HttpRequest, page: Page[Change]) -> dict[str, str]:
    """Addresses of this page with one thing changed."""
    links = {"all": _asked(request, chosen="all")}
    if page.has_previous():
        links["previous"] = _asked(request, p=str(page.previous_page_number()))
    if page.has_next():
        links["next"] = _asked(request, p=str(page.next_page_number()))
    return links


def _asked(request: HttpRequest, **changed: str) -> str:
    """What the page was asked for, as a query, without what was chosen."""
    asked = {key: value for key, value in request.GET.items() if key in ("q", "show", "p")}
    return "?" + urlencode({**asked, **changed})


def _take_chosen(request: HttpRequest, upstream: Upstream) -> int:
    """How many. Raises InvalidInput, before anything is taken, for a price that is none."""
    form, by, at = request.POST, web_actor(request), timezone.now()
    numbers = [number for number in range(_PER_PAGE) if f"take-{number}" in form]
    if not numbers:
        raise InvalidInput("Choose a model first.")
    chosen = [(_record(form, number), number) for number in numbers]
    priced = [(listed, _typed_price(form, number, listed)) for listed, number in chosen]
    for listed, price in priced:
        if price is None:
            actions.close_route(upstream=upstream, upstream_model=listed.id, by=by, at=at)
        else:
            imports.take(upstream, listed, price, by=by, at=at)
    return len(priced)


def _record(form: Mapping[str, str], number: int) -> Listed:
    return wire.read(form.get(f"listed-{number}", "").encode(), Listed)


def _typed_price(form: Mapping[str, str], number: int, listed: Listed) -> ListPrice | None:
    """None for a route that shall be closed. Classes that its kind has no field for stay as they
    were listed. Raises InvalidInput."""
    if form[f"take-{number}"] == "close":
        return None
    kind = LanguageModel.Kind(listed.kind or LanguageModel.Kind.LANGUAGE)
    given: dict[str, int | None] = {}
    for name in _CLASSES_OF[kind]:
        label, _ = _CLASSES[name]
        text = form.get(f"{name}-{number}", "").strip().removeprefix("$")
        try:
            given[name] = usd_to_nanos(text) if text else None
        except InvalidInput as refusal:
            raise InvalidInput(f"{listed.id}, {label}: {refusal.message}") from None
        if given[name] is None and name in _NEEDED and given.get("image") is None:
            raise InvalidInput(f"Give {listed.id} a price, or 0 if it is free: {label} is empty.")
        if name in _NEEDED:
            given[name] = given[name] or 0
    others = msgspec.to_builtins(listed.price or ListPrice(0, 0))
    try:
        return msgspec.convert({**others, **given}, ListPrice)
    except msgspec.ValidationError:
        raise InvalidInput(f"{listed.id}: a price is from 0 to 100,000 USD.") from None


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """For UpstreamAdmin: the site asks for staff, the pages for their permissions."""
    return [
        path(
            "<str:object_id>/models/",
            site.admin_view(models_page),
            name="proxy_upstream_models",
        ),
        path("<str:object_id>/test/", site.admin_view(test_page), name="proxy_upstream_test"),
    ]
