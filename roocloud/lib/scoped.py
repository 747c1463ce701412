"""Tables that belong to a tenant: a query for a request starts from who asks (A1)."""

from typing import Any, NoReturn, TypeVar

from django.db import models

M = TypeVar("M", bound=models.Model)


class UnscopedQuery(Exception):
    """A query began at ``objects`` without ``visible_to(actor)``."""


class ScopedManager(models.Manager[M]):
    """A manager that answers nothing but ``visible_to(actor)``, which its QuerySet defines::

    unscoped = TaskQuerySet.as_manager()  # first: Django's own machinery takes it
    objects = ScopedManager.from_queryset(TaskQuerySet)()
    """

    _SCOPES = frozenset({"visible_to"})

    def __getattribute__(self, name: str) -> Any:
        if name in ScopedManager._SCOPES:
            return _Scope(self)
        return super().__getattribute__(name)

    def get_queryset(self) -> NoReturn:
        raise UnscopedQuery(f"{self.model.__name__}.objects needs visible_to(actor)")


class _Scope:
    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __call__(self, actor: Any) -> Any:
        manager = self._manager
        queryset = manager._queryset_class(model=manager.model, using=manager._db)
        return queryset.visible_to(actor)
