"""Upstreams, models, prices and completions in the admin. Keys go in and never come out."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import Field, QuerySet
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.utils import timezone

from accounts.actors import web_actor
from audit import actions as audit
from proxy import actions, admin_pages, dialects, health, imports
from proxy.models import (
    Alias,
    Completion,
    LanguageModel,
    Price,
    Route,
    TranscriptKeeping,
    Upstream,
)
from roocloud.lib.admin import ReadOnlyAdmin
from roocloud.lib.money import format_usd, nanos_to_plain_usd, usd_to_nanos
from roocloud.lib.refusals import InvalidInput, Refusal


class UpstreamForm(forms.ModelForm[Upstream]):
    api_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "size": 40}),
        help_text="The provider's. Stored encrypted and never shown; empty keeps the present one, "
        "and another one counts for what is asked from then on. For Amazon Bedrock an API key of "
        "its own, or ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]; for Google Vertex the JSON "
        "file of a service account's key.",
    )

    class Meta:
        model = Upstream
        fields = (
            "name", "kind", "base_url", "organization", "enabled", "output_limit",
            "dropped_parameters", "extra_parameters", "first_byte_timeout_s", "idle_timeout_s",
        )  # fmt: skip
        labels = {
            "base_url": "Base URL",
            "first_byte_timeout_s": "First byte timeout",
            "idle_timeout_s": "Idle timeout",
        }
        help_texts = {
            "name": "What the log and answers call it, and what the ids of its models begin with "
            "if they name no vendor. Letters, digits and dashes.",
            "base_url": "Up to the version, such as https://api.openai.com/v1 or "
            "http://127.0.0.1:11434/v1.",
            "enabled": "Off: nothing is asked of it, and models that nobody else completes are not "
            "offered.",
            "dropped_parameters": "Parameters of requests that it refuses, such as "
            '["temperature"].',
            "extra_parameters": "Parameters beyond OpenAI's that it may be sent.",
        }
        widgets = {
            name: forms.Textarea({"rows": 2, "cols": 40})
            for name in ("dropped_parameters", "extra_parameters")
        }

    def clean_base_url(self) -> str:
        try:
            return actions.checked_base_url(self.cleaned_data["base_url"])
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from None

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        given = self.cleaned_data
        is_moved = {"organization", "base_url", "kind"} & set(self.changed_data)
        if not given.get("api_key"):
            if is_moved or not self.instance.sealed_api_key:
                problem = "Give the key: it is sealed for this upstream's address, kind and owner."
                self.add_error("api_key", problem)
        elif {"kind", "base_url"} <= given.keys():
            try:
                dialects.of_kind(given["kind"]).check(given["base_url"], given["api_key"])
            except InvalidInput as refusal:
                self.add_error(refusal.field, refusal.message)
        return cleaned

    def clean_dropped_parameters(self) -> list[str]:
        return self.cleaned_data["dropped_parameters"] or []

    def clean_extra_parameters(self) -> list[str]:
        return self.cleaned_data["extra_parameters"] or []


@admin.register(Upstream)
class UpstreamAdmin(admin.ModelAdmin[Upstream]):
    form = UpstreamForm
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "api_key", "organization", "enabled")}),
        (
            "If its answers need it",
            {
                "classes": ("collapse",),
                "fields": ("output_limit", "dropped_parameters", "extra_parameters",
                           "first_byte_timeout_s", "idle_timeout_s"),
            },
        ),
    )  # fmt: skip
    list_display = ("name", "kind", "base_url", "organization", "enabled", "created_at")
    list_filter = ("kind", "enabled")
    list_select_related = ("organization",)
    date_hierarchy = "created_at"
    show_full_result_count = False
    search_fields = ("name", "base_url")
    ordering = ("name",)
    actions = ("disable", "enable")

    @admin.action(description="Ask the chosen upstreams nothing more", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Upstream]) -> None:
        self._switch(request, queryset, is_on=False)

    @admin.action(description="Ask the chosen upstreams again", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Upstream]) -> None:
        self._switch(request, queryset, is_on=True)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Upstream], *, is_on: bool) -> None:
        at, by = timezone.now(), web_actor(request)
        changed = [
            actions.switch_upstream(upstream=row, is_on=is_on, by=by, at=at) for row in queryset
        ]
        said = f"{sum(changed)} of {len(changed)} switched {'on' if is_on else 'off'}."
        self.message_user(request, said, messages.SUCCESS)

    def get_urls(self) -> list[URLPattern]:
        health = path(
            "health/", self.admin_site.admin_view(self.health), name="proxy_upstream_health"
        )
        return [health, *admin_pages.urls(self.admin_site), *super().get_urls()]

    def health(self, request: HttpRequest) -> HttpResponse:
        """How each upstream does."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "How upstreams do",
            "upstreams": health.upstreams(at=timezone.now()),
        }
        return render(request, "admin/proxy/upstream/health.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        pages = {
            "may_test": admin_pages.may_test(request),
            "may_import": admin_pages.may_import(request),
        }
        return super().change_view(request, object_id, form_url, {**pages, **(extra_context or {})})

    def response_add(
        self, request: HttpRequest, obj: Upstream, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To its own page, where the next steps are."""
        if {"_addanother", "_popup"} & request.POST.keys():
            return super().response_add(request, obj, post_url_continue)
        said = f"{obj} is kept. Test it, then take its models: without those it is asked nothing."
        self.message_user(request, said, messages.SUCCESS)
        return redirect("admin:proxy_upstream_change", quote(obj.pk))

    def has_delete_permission(self, request: HttpRequest, obj: Upstream | None = None) -> bool:
        return False  # disable it: completions name it

    def save_model(
        self,
        request: HttpRequest,
        obj: Upstream,
        form: Any,
        change: bool,  # noqa: FBT001 - Django's signature
    ) -> None:
        if not change:
            obj.created_at = timezone.now()
        if form.cleaned_data["api_key"]:
            obj.set_api_key(form.cleaned_data["api_key"])
        super().save_model(request, obj, form, change)
        audit.record(
            action="upstream.saved",
            actor=web_actor(request),
            target_kind="upstream",
            target_id=obj.pk,
            after={"changed": sorted(form.changed_data)},
            at=timezone.now(),
        )


class UsdField(forms.CharField):
    """An amount that people type in USD, and that is stored in nano-dollars."""

    def prepare_value(self, value: Any) -> Any:
        return nanos_to_plain_usd(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:  # type: ignore[override]  # of a CharField, text
        text = super().to_python(value)
        if not text:
            return None
        try:
            nanos = usd_to_nanos(text.removeprefix("$"))
        except InvalidInput as refusal:
            raise forms.ValidationError(refusal.message) from None
        if nanos < 0:
            raise forms.ValidationError("Must be zero or more.")
        return nanos


class PriceInline(admin.TabularInline[Price, LanguageModel]):
    """Those that there are: a price of the past stays what it was."""

    model = Price
    verbose_name_plural = "Prices, in USD per million tokens"
    fields = readonly_fields = ("valid_from", "price", "of_long_prompts")
    ordering = ("-valid_from",)
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def price(self, row: Price) -> str:
        listed = imports.price_of(row)
        return imports.price_text(listed)

    def of_long_prompts(self, row: Price) -> str:
        long = imports.price_of(row).long
        return imports.long_price_text(long) if long else "the same"


class NewPriceInline(admin.StackedInline[Price, LanguageModel]):
    model = Price
    verbose_name_plural = "A new price, in USD per million tokens"
    extra = 0
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "valid_from",
                    ("input_nanos_per_mtok", "output_nanos_per_mtok"),
                    ("cache_read_nanos_per_mtok", "cache_write_nanos_per_mtok"),
                    "image_nanos",
                )
            },
        ),
        (
            "Where long prompts cost more",
            {
                "fields": (
                    "long_above_tokens",
                    ("long_input_nanos_per_mtok", "long_output_nanos_per_mtok"),
                    ("long_cache_read_nanos_per_mtok", "long_cache_write_nanos_per_mtok"),
                )
            },
        ),
    )
    _labels = {
        "input": "Input",
        "output": "Output",
        "cache_read": "Cached input",
        "cache_write": "Cache write",
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        return super().get_queryset(request).none()

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        name = db_field.name.removeprefix("long_").removesuffix("_nanos_per_mtok")
        if label := self._labels.get(name):
            help_text = "Empty: as input." if name.startswith("cache") else ""
            return UsdField(label=label, required=not db_field.blank, help_text=help_text)
        if db_field.name == "image_nanos":
            return UsdField(label="Each image", required=False, help_text=db_field.help_text)
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class RouteInline(admin.TabularInline[Route, LanguageModel]):
    model = Route
    extra = 0
    min_num = 1
    autocomplete_fields = ("upstream",)


class LanguageModelForm(forms.ModelForm[LanguageModel]):
    class Meta:
        model = LanguageModel
        exclude = ()  # noqa: DJ006 - the admin names them

    def clean_tags(self) -> list[str]:
        return self.cleaned_data["tags"] or []

    def clean_settings(self) -> dict[str, Any]:
        return self.cleaned_data["settings"] or {}

    def clean_versioned_settings(self) -> dict[str, Any]:
        return self.cleaned_data["versioned_settings"] or {}


class AliasInline(admin.TabularInline[Alias, LanguageModel]):
    model = Alias
    extra = 0


@admin.register(LanguageModel)
class LanguageModelAdmin(admin.ModelAdmin[LanguageModel]):
    form = LanguageModelForm
    list_display = ("model_id", "kind", "context_window", "max_tokens", "visible", "deprecated")
    list_filter = ("kind", "visible", "deprecated", "routes__upstream")
    date_hierarchy = "created_at"
    show_full_result_count = False
    search_fields = ("model_id", "name")
    ordering = ("model_id",)
    filter_horizontal = ("organizations",)
    inlines = (RouteInline, PriceInline, NewPriceInline, AliasInline)

    def save_model(
        self,
        request: HttpRequest,
        obj: LanguageModel,
        form: Any,
        change: bool,  # noqa: FBT001 - Django's signature
    ) -> None:
        if not change:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)
        audit.record(
            action="model.saved",
            actor=web_actor(request),
            target_kind="model",
            target_id=obj.model_id,
            after={"changed": sorted(form.changed_data)},
            at=timezone.now(),
        )

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        """Prices, routes and aliases change money and ways, so each is on the trail (L4)."""
        super().save_formset(request, form, formset, change)
        changed = [*formset.new_objects, *(row for row, _ in formset.changed_objects)]
        for row in [*changed, *formset.deleted_objects]:
            audit.record(
                action=f"model.{row._meta.model_name}_saved",
                actor=web_actor(request),
                target_kind="model",
                target_id=form.instance.model_id,
                after={key: str(value) for key, value in model_to_dict(row).items()},
                note="removed" if row in formset.deleted_objects else "",
                at=timezone.now(),
            )


@admin.register(Completion)
class CompletionAdmin(ReadOnlyAdmin[Completion]):
    list_display = ("started_at", "model_id", "user_id", "api_key_id", "status", "prompt_tokens",
                    "completion_tokens", "cost", "is_estimated")  # fmt: skip
    list_filter = ("status", "is_estimated", "upstream_name")
    search_fields = ("=id", "=user_id", "=organization_id", "=task_id", "=api_key_id", "model_id")
    search_help_text = "An id of a completion, member, organization, task or API key; or a model."
    date_hierarchy = "started_at"
    ordering = ("-started_at", "id")

    @admin.display(ordering="cost_nanos")
    def cost(self, completion: Completion) -> str:
        return format_usd(completion.cost_nanos)


@admin.register(TranscriptKeeping)
class TranscriptKeepingAdmin(ReadOnlyAdmin[TranscriptKeeping]):
    """Which organizations have prompts and answers stored, by their own choice. What is stored is
    nowhere in the admin."""

    list_display = ("organization", "days", "changed_by_id", "changed_at")
    list_select_related = ("organization",)
    list_filter = ("changed_at",)
    date_hierarchy = "changed_at"
    search_fields = ("organization__name", "=organization__id")
    ordering = ("organization__name", "pk")
