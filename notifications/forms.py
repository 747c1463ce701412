"""Forms of the page of notifications."""

from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from django.forms import BoundField

from notifications import preferences
from notifications.kinds import Channel, Kind
from notifications.preferences import CHOOSABLE, Wishes


class PreferencesForm(forms.Form):
    time_zone = forms.ChoiceField(help_text="Quiet hours are by this clock.")
    quiet_from = forms.TimeField(
        label="Quiet from",
        required=False,
        widget=forms.TimeInput({"type": "time"}, format="%H:%M"),
        help_text="Browsers stay silent, and mail waits for the end. Empty: no quiet hours.",
    )
    quiet_until = forms.TimeField(
        label="Quiet until",
        required=False,
        widget=forms.TimeInput({"type": "time"}, format="%H:%M"),
    )

    def __init__(self, data: Mapping[str, Any] | None, *, wishes: Wishes) -> None:
        initial = {
            "time_zone": wishes.time_zone,
            "quiet_from": wishes.quiet_from,
            "quiet_until": wishes.quiet_until,
            **{_name(kind, channel): True for kind, channel in wishes.choices},
        }
        super().__init__(data, initial=initial)
        zones = preferences.time_zones()
        if wishes.time_zone not in zones:
            zones.append(wishes.time_zone)
        self.fields["time_zone"].choices = [(name, name.replace("_", " ")) for name in zones]  # type: ignore[attr-defined]
        for kind in CHOOSABLE:
            for channel in Channel:
                label = f"{kind.label}: {channel.label}"
                self.fields[_name(kind, channel)] = forms.BooleanField(label=label, required=False)

    def rows(self) -> Iterator[tuple[Kind, list[BoundField]]]:
        """A row for each kind, with a box for each channel."""
        for kind in CHOOSABLE:
            yield kind, [self[_name(kind, channel)] for channel in Channel]

    def wishes(self) -> Wishes:
        """Of a valid form."""
        chosen = frozenset(
            (str(kind), str(channel))
            for kind in CHOOSABLE
            for channel in Channel
            if self.cleaned_data[_name(kind, channel)]
        )
        data = self.cleaned_data
        return Wishes(chosen, data["time_zone"], data["quiet_from"], data["quiet_until"])


def _name(kind: str, channel: str) -> str:
    return f"{kind}_{channel}"


class SubscriptionForm(forms.Form):
    """What a page's script sends; ``notifications.subscriptions`` says what is right."""

    endpoint = forms.CharField(max_length=1_000)
    p256dh = forms.CharField(max_length=100)
    auth = forms.CharField(max_length=100)
    time_zone = forms.CharField(max_length=64, required=False)
