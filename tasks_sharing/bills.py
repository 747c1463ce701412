"""What a task cost on this server; ``proxy``, a room above, knows and registers itself."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bill:
    """Every completion that the task's owner made for it here. running: those whose cost is not
    known yet; is_estimated: some tokens were counted here, because the upstream did not say."""

    completions: int
    running: int
    cost_nanos: int
    is_estimated: bool


#: (the owner's id, the client's task id) -> the bill, or None for a task that cost nothing here.
Biller = Callable[[str, str], Bill | None]

_sources: list[Biller] = []


def register(source: Biller) -> None:
    """Name the source; called once, while apps are loaded."""
    _sources[:] = [source]


def of(*, owner_id: str, task_id: str) -> Bill | None:
    """The bill of a task; None if no completion was made for it here."""
    return _sources[0](owner_id, task_id)
