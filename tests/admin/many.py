"""Many rows of any model, for walks that must not depend on which models there are."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import UniqueConstraint
from django.utils import timezone

_first: dict[type[models.Model], models.Model] = {}
_made: dict[type[models.Model], list[models.Model]] = {}


def _value(field: models.Field) -> Any:
    """Something that the field takes."""
    at = timezone.now()
    if isinstance(field, models.ForeignKey):
        return sample(field.related_model).pk
    if field.choices:
        return field.choices[0][0]
    by_kind: list[tuple[type[models.Field], Any]] = [
        (models.DateTimeField, at + timedelta(hours=1)),
        (models.DateField, at.date()),
        (models.BooleanField, True),
        (models.JSONField, {}),
        (models.FileField, "x"),
        (models.IntegerField, 1),
        (models.TextField, "{}"),
        (models.CharField, "x"),
    ]
    return next(value for kind, value in by_kind if isinstance(field, kind))


def sample(model: type[models.Model]) -> models.Model:
    """The first row; where there is none, one of values that its fields take."""
    if model in _first:
        return _first[model]
    row = model._base_manager.order_by("pk").first()
    if row is None:
        row = model()
        for field in model._meta.concrete_fields:
            if not (field.has_default() or field.null or field.blank or field.auto_created):
                setattr(row, field.attname, _value(field))
        row.save(force_insert=True)
    _first[model] = row
    return row


def _unique_sets(model: type[models.Model]) -> list[list[models.Field]]:
    names = [[field.name] for field in model._meta.concrete_fields if field.unique]
    names += [list(found) for found in model._meta.unique_together]
    names += [
        list(found.fields)
        for found in model._meta.constraints
        if isinstance(found, UniqueConstraint) and found.fields
    ]
    return [[model._meta.get_field(name) for name in found] for found in names]


def _another(field: models.Field, value: Any, number: int) -> Any:
    """The value of a field in the copy with that number. An empty one is unique for none."""
    if value in ("", None):
        return value
    if isinstance(field, models.ForeignKey):
        return copies(field.related_model, number + 1)[number].pk
    if isinstance(field, models.DateTimeField | models.DateField):
        return value + timedelta(days=number + 1)
    if isinstance(field, models.IntegerField):
        return value + 10_000 + number
    text = f"{number}-{value}"
    return text[: field.max_length] if field.max_length else text


def _told_apart_by(first: models.Model) -> set[models.Field]:
    """What has to differ in copies: of each unique set a plain field, else a reference."""
    model = type(first)
    varied: set[models.Field] = set()
    for fields in sorted(_unique_sets(model), key=len):
        plain = [
            field
            for field in fields
            if getattr(first, field.attname) not in ("", None) and not field.choices
            and not isinstance(field, models.ForeignKey)
            and not isinstance(field, models.AutoField) and not isinstance(field, models.BooleanField)
        ]  # fmt: skip
        if varied.isdisjoint(fields) and not any(isinstance(f, models.AutoField) for f in fields):
            varied.add((plain or fields)[0])
    return varied


def forget() -> None:
    """What was made for an earlier test."""
    _made.clear()
    _first.clear()


def copies(model: type[models.Model], count: int) -> list[models.Model]:
    """At least as many rows, like the first one."""
    known = _made.setdefault(model, [])
    if len(known) >= count:
        return known
    first, rows = sample(model), []
    varied = _told_apart_by(first)
    for number in range(len(known), count):
        row = model()
        for field in model._meta.concrete_fields:
            if isinstance(field, models.AutoField):
                continue
            value = getattr(first, field.attname)
            setattr(
                row, field.attname, _another(field, value, number) if field in varied else value
            )
        rows.append(row)
    known += model._base_manager.bulk_create(rows)
    return known
