"""What this room has of an organization (see orgs.estate): tasks, their links, imports."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from accounts.actors import Actor
from tasks_sharing import export, live
from tasks_sharing.listing import Filters
from tasks_sharing.models import Import, Task

_BATCH = 50


class Part:
    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        export.note(by=actor, is_team=True, at=at)
        yield "tasks.ndjson", _tasks(actor)

    def clear(self, organization_id: str, *, at: datetime) -> None:
        """Everything, with messages, images, links and what was uploaded."""
        tasks = Task.unscoped.of_organization(organization_id).order_by("pk")
        while pks := list(tasks.values_list("pk", flat=True)[:_BATCH]):
            for pk in pks:
                live.announce(pk)
            Task.unscoped.filter(pk__in=pks).delete()
        Import.unscoped.filter(organization_id=organization_id).delete()


def _tasks(actor: Actor) -> Iterator[str]:
    """Those whose conversations the settings let the actor read."""
    after: str | None = ""
    while after is not None:
        found, after = export.batch(actor, Filters(), is_team=True, after=after, pks=())
        for task in found:
            yield export.opening(task)
            start = 0
            while lines := export.lines(task, start):
                yield (", " if start else "") + ", ".join(lines)
                start += len(lines)
            yield export.CLOSING
