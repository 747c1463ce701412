"""What a person wants to be told, how, and when not."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from django.db import transaction

from notifications.kinds import Channel, Kind
from notifications.models import Choice, Preferences
from roocloud.lib.refusals import InvalidInput

#: What can be chosen; a test goes everywhere.
CHOOSABLE = (Kind.APPROVAL, Kind.QUESTION, Kind.FINISHED, Kind.FAILED, Kind.BUDGET)
#: Of who never said anything: as before there was anything to say.
_AT_FIRST = frozenset({(Kind.BUDGET, Channel.MAIL)})
#: Of who turned on a first browser and has said nothing else.
_WITH_A_BROWSER = _AT_FIRST | {(kind, Channel.PUSH) for kind in CHOOSABLE}


@dataclass(frozen=True, slots=True)
class Wishes:
    """choices: pairs of kind and channel. quiet_from, quiet_until: in that time zone, or None.
    is_known: whether the person ever said anything."""

    choices: frozenset[tuple[str, str]] = field(default=_AT_FIRST)
    time_zone: str = "UTC"
    quiet_from: time | None = None
    quiet_until: time | None = None
    is_known: bool = False

    def wants(self, kind: str, channel: str) -> bool:
        return (kind, channel) in self.choices

    def quiet_end(self, at: datetime) -> datetime | None:
        """When the quiet hours end that ``at`` lies in; None outside of them."""
        if self.quiet_from is None or self.quiet_until is None:
            return None
        local = at.astimezone(ZoneInfo(self.time_zone))
        now = local.time()
        if self.quiet_from < self.quiet_until:
            is_quiet = self.quiet_from <= now < self.quiet_until
        else:
            is_quiet = now >= self.quiet_from or now < self.quiet_until
        if not is_quiet:
            return None
        day = local.date() + timedelta(days=now >= self.quiet_until)
        return datetime.combine(day, self.quiet_until, local.tzinfo).astimezone(UTC)


def of(user_ids: Collection[str]) -> Mapping[str, Wishes]:
    """By person, for everybody asked for. Two queries, however many."""
    choices: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for choice in Choice.unscoped.filter(preferences_id__in=set(user_ids)):
        choices[choice.preferences_id].add((choice.kind, choice.channel))
    found = {
        row.pk: Wishes(
            frozenset(choices[row.pk]),
            row.time_zone,
            row.quiet_from,
            row.quiet_until,
            is_known=True,
        )
        for row in Preferences.unscoped.filter(pk__in=set(user_ids))
    }
    return {user_id: found.get(user_id, Wishes()) for user_id in user_ids}


def time_zones() -> list[str]:
    """Names of the tz database that a person may live by."""
    return sorted(name for name in available_timezones() if "/" in name or name == "UTC")


def save(*, user_id: str, wishes: Wishes, at: datetime) -> None:
    """Exchange a person's wishes for these.

    Raises InvalidInput for a kind, channel or time zone that does not exist, for quiet hours with
    one end, and for those that would never end.
    """
    known = {(kind, channel) for kind in CHOOSABLE for channel in Channel}
    if not wishes.choices <= known:
        raise InvalidInput("There is no such kind or channel", field="choices")
    if wishes.time_zone not in available_timezones():
        raise InvalidInput("There is no such time zone", field="time_zone")
    if (wishes.quiet_from is None) != (wishes.quiet_until is None):
        raise InvalidInput("Quiet hours need a beginning and an end", field="quiet_until")
    if wishes.quiet_from is not None and wishes.quiet_from == wishes.quiet_until:
        raise InvalidInput("Quiet hours must end at another time", field="quiet_until")
    with transaction.atomic():
        row, _ = Preferences.unscoped.update_or_create(
            pk=user_id,
            defaults={
                "time_zone": wishes.time_zone,
                "quiet_from": wishes.quiet_from,
                "quiet_until": wishes.quiet_until,
                "updated_at": at,
            },
        )
        row.choices.all().delete()
        Choice.unscoped.bulk_create(
            Choice(preferences=row, kind=kind, channel=channel)
            for kind, channel in sorted(wishes.choices)
        )


def begin(*, user_id: str, time_zone: str, at: datetime) -> None:
    """A person turned on a browser: who never said what they want, wants everything there.

    time_zone: of the browser; one that does not exist counts as UTC.
    """
    zone = time_zone if time_zone in available_timezones() else "UTC"
    if not Preferences.unscoped.filter(pk=user_id).exists():
        save(user_id=user_id, wishes=Wishes(_WITH_A_BROWSER, zone), at=at)
