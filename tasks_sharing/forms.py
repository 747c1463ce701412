"""Forms of the pages of tasks."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from msgspec import UNSET

from tasks_sharing import guard

if TYPE_CHECKING:
    from orgs.documents import CloudSettings

#: How long a link may be chosen to live: hours, and how people call them.
_LIFETIMES = [
    (1, "In an hour"), (24, "In a day"), (7 * 24, "In a week"), (30 * 24, "In 30 days"),
    (90 * 24, "In 90 days"), (365 * 24, "In a year"),
]  # fmt: skip


class LifetimeForm(forms.Form):
    """When a link ends. cloud: the policy, which offers nothing beyond itself."""

    hours = forms.ChoiceField(label="Ends", required=False)

    def __init__(self, *args: Any, cloud: "CloudSettings", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        days = cloud.task_share_expiration_days
        longest = "Never"
        offered = _LIFETIMES
        if days is not UNSET:
            longest = f"In {days} day{'' if days == 1 else 's'}, the most that is allowed"
            offered = [choice for choice in _LIFETIMES if choice[0] < days * 24]
        field = self.fields["hours"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
        field.choices = [("", longest), *((str(hours), label) for hours, label in offered)]

    @property
    def lifetime(self) -> timedelta | None:
        """Of the valid form; None for as long as the policy lets it."""
        hours = self.cleaned_data["hours"]
        return timedelta(hours=int(hours)) if hours else None


class MaskTextForm(forms.Form):
    text = forms.CharField(
        label="Text",
        max_length=guard.MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Masked wherever it stands in the conversation. Or select it below.",
    )


class MaskFileForm(forms.Form):
    file = forms.CharField(
        label="File",
        max_length=4096,
        widget=forms.TextInput(attrs={"list": "mask-files", "autocomplete": "off"}),
        help_text="Its path. Masks what was read and changed of it; output of commands stays.",
    )
