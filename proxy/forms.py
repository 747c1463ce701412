"""Forms of the pages of API keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms

from accounts.api_keys import KeyFacts, NewKey
from accounts.memberships import Membership
from proxy.keys import Limit
from roocloud.lib.money import nanos_to_plain_usd, usd_to_nanos

if TYPE_CHECKING:
    from accounts.models import ApiKey

#: The choice that leaves a key's end where it is.
_KEPT = "kept"


_DAYS = [("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "never")]


class _KeyFields(forms.Form):
    name = forms.CharField(max_length=100, help_text="To know it by later, such as “notebook”.")
    note = forms.CharField(
        label="Purpose", max_length=300, required=False, help_text="What it is for. Optional."
    )
    models = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple({"class": "options"}),
        help_text="Tick none to allow all that you may use there.",
    )
    limit = forms.CharField(
        label="Budget in USD", max_length=30, required=False, help_text="Empty for no limit."
    )
    period = forms.ChoiceField(
        label="The budget is for",
        choices=[
            ("day", "each day"),
            ("week", "each week"),
            ("month", "each month"),
            ("total", "all time"),
        ],
        initial="month",
    )
    days = forms.ChoiceField(label="Ends after", choices=_DAYS, required=False, initial="90")

    def __init__(self, *args: Any, models: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.fields["models"].choices = models  # type: ignore[attr-defined]

    def limit_given(self) -> Limit | None:
        """Raises InvalidInput (``limit``)."""
        usd = self.cleaned_data["limit"]
        if not usd:
            return None
        return Limit(usd_to_nanos(usd, field="limit"), self.cleaned_data["period"])


class KeyForm(_KeyFields):
    organization = forms.ChoiceField(required=False, help_text="Whose models and credit it uses.")
    field_order = ("name", "note", "organization")

    def __init__(self, *args: Any, organizations: Sequence[Membership], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(m.organization_id, m.organization_name) for m in organizations]
        places = [*choices, ("", "Personal account")]
        self.fields["organization"].choices = places  # type: ignore[attr-defined]

    def new_key(self) -> NewKey:
        """What a valid form asks for."""
        given = self.cleaned_data
        return NewKey(
            name=given["name"],
            note=given["note"],
            model_ids=given["models"],
            lifetime=timedelta(days=int(given["days"])) if given["days"] else None,
        )


class EditKeyForm(_KeyFields):
    """For one key, as it is."""

    def __init__(
        self,
        data: Any,
        *,
        key: "ApiKey",
        models: Sequence[tuple[str, str]],
        limit: Limit | None,
        has_fixed_budget: bool,
    ) -> None:
        gone = [(one, f"{one} (not offered at present)") for one in key.model_ids]
        known = {model_id for model_id, _ in models}
        super().__init__(
            data,
            models=[*models, *((one, name) for one, name in gone if one not in known)],
            initial={
                "name": key.name,
                "note": key.note,
                "models": key.model_ids,
                "limit": nanos_to_plain_usd(limit.limit_nanos) if limit else "",
                "period": limit.period if limit else "month",
                "days": _KEPT,
            },
        )
        self._key = key
        ends = f"on {key.expires_at:%-d %b %Y}, as now" if key.expires_at else "never, as now"
        others = [(days, f"{name} from now") for days, name in _DAYS if days]
        never = [("", "never")] if key.expires_at else []
        self.fields["days"].label = "Ends"
        self.fields["days"].choices = [(_KEPT, ends), *others, *never]  # type: ignore[attr-defined]
        if has_fixed_budget:
            for name in ("limit", "period"):
                self.fields[name].disabled = True
            self.fields["limit"].help_text = "An admin of the organization has set it."

    def facts(self, at: datetime) -> KeyFacts:
        """What a valid form asks for."""
        given = self.cleaned_data
        expires_at = self._key.expires_at
        if given["days"] != _KEPT:
            expires_at = at + timedelta(days=int(given["days"])) if given["days"] else None
        return KeyFacts(
            name=given["name"],
            note=given["note"],
            model_ids=given["models"],
            expires_at=expires_at,
        )


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(
        label="The old secret works for",
        choices=[
            ("0", "no longer: it stops at once"),
            ("1", "1 more hour"),
            ("24", "1 more day"),
            ("168", "7 more days"),
        ],
        initial="24",
    )

    def hours(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["overlap"]))
