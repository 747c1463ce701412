"""What this room has of an organization (see orgs.estate): editors and commands, which go."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from accounts.actors import Actor
from bridge.models import BridgeToken, Command, Instance


class Part:
    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        """None: commands and editors are their people's own."""
        return ()

    def clear(self, organization_id: str, *, at: datetime) -> None:
        for model in (Command, Instance, BridgeToken):
            model.unscoped.filter(organization_id=organization_id).delete()
