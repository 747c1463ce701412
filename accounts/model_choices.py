"""The models that the provider sign-up page offers; ``proxy``, a room above, names them."""

from collections.abc import Callable, Sequence

from accounts.actors import Actor

ModelChoices = Callable[[Actor], Sequence[tuple[str, str]]]

_sources: list[ModelChoices] = []


def register(source: ModelChoices) -> None:
    """Name the source; called once, while apps are loaded."""
    _sources[:] = [source]


def of(actor: Actor) -> Sequence[tuple[str, str]]:
    """(model id, name) of each model that the actor may use."""
    return _sources[0](actor)
