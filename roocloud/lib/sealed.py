"""Every sealed column of the deployment, and how all of them move to the newest key (I3).

A room registers its columns while apps load. A rotation runs while the deployment serves, touches
only what an older key sealed, and changes a row only if nobody else did meanwhile; so it may be
interrupted at any point and run again.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from django.db.models import Model
from msgspec import Struct

from roocloud.lib import crypto

T = TypeVar("T", bound=Struct)

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Column:
    """renew: the row's value under the newest key, None if it is already. Raises CannotUnseal."""

    model: type[Model]
    field: str
    renew: Callable[[Any], Any | None]

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.field}"


_columns: list[Column] = []


def register(model: type[Model], field: str, renew: Callable[[Any], Any | None]) -> None:
    """Let rotations include a column."""
    _columns.append(Column(model, field, renew))


def renewed(sealed: str, *, context: str) -> str | None:
    """A sealed value under the newest key; None if it is already. Raises CannotUnseal."""
    return None if crypto.is_current(sealed) else crypto.reseal(sealed, context=context)


def packed(value: Struct, *, context: str) -> str:
    """A structure as it is stored: compressed, and sealed for its place (I2)."""
    return crypto.seal(zlib.compress(msgspec.msgpack.encode(value), level=1), context=context)


def unpacked(sealed: str, kind: type[T], *, context: str) -> T:
    """Raises CannotUnseal."""
    packed = zlib.decompress(crypto.unseal(sealed, context=context))
    return msgspec.msgpack.decode(packed, type=kind)


@dataclass(frozen=True, slots=True)
class Renewed:
    """A row that a rotation met. is_lost: no configured key opens it."""

    column: str
    pk: Any
    is_lost: bool


def renew_all() -> Iterator[Renewed]:
    """Seal everything under the first of ROOCLOUD_FIELD_KEYS; each row that was not, as it is
    done."""
    for column in _columns:
        rows = column.model._base_manager.order_by("pk")
        for row in rows.iterator(chunk_size=_CHUNK):
            try:
                value = column.renew(row)
            except crypto.CannotUnseal:
                yield Renewed(str(column), row.pk, is_lost=True)
                continue
            if value is None:
                continue
            seen = {column.field: getattr(row, column.field)}
            column.model._base_manager.filter(pk=row.pk, **seen).update(**{column.field: value})
            yield Renewed(str(column), row.pk, is_lost=False)
