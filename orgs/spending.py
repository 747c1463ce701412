"""What members spent; ``proxy``, a room above, counts it and registers itself."""

from collections.abc import Callable, Collection, Mapping
from datetime import date

#: (organization's id, people's ids, first day) -> nano-dollars by person; who spent nothing may be
#: absent.
Source = Callable[[str, Collection[str], date], Mapping[str, int]]

_sources: list[Source] = []


def register(source: Source) -> None:
    """Name the source; called once, while apps are loaded."""
    _sources[:] = [source]


def of_members(
    organization_id: str, user_ids: Collection[str], *, since: date
) -> Mapping[str, int]:
    """Nano-dollars that each of them spent in an organization, on that day (UTC) and after."""
    return _sources[0](organization_id, user_ids, since)
