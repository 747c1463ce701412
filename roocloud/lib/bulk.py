"""Changing many rows in one statement."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import connection, models


def update_rows(
    model: type[models.Model],
    rows: Sequence[Mapping[str, Any]],
    *,
    add: Collection[str] = (),
) -> int:
    """``UPDATE … FROM (VALUES …)``; how many rows changed.

    rows: each with ``pk`` and the same fields. add: fields whose values are added to what is
    stored instead of replacing it.
    """
    if not rows:
        return 0
    quote = connection.ops.quote_name
    names = list(rows[0])
    fields: dict[str, Any] = {
        name: model._meta.pk if name == "pk" else model._meta.get_field(name) for name in names
    }
    table = quote(model._meta.db_table)
    given = {name: quote(f"given_{name}") for name in names}

    def slot(field: Any) -> str:
        # PostgreSQL takes bare parameters for text; SQLite's casts would turn dates into numbers.
        return f"%s::{field.db_type(connection)}" if connection.vendor == "postgresql" else "%s"

    values = f"({', '.join(slot(fields[name]) for name in names)})"
    changes = [
        f"{quote(fields[name].column)} = "
        + (f"{table}.{quote(fields[name].column)} + " if name in add else "")
        + f"given.{given[name]}"
        for name in names
        if name != "pk"
    ]
    # Names are the model's own, and every value is a parameter.
    sql = (
        f"WITH given({', '.join(given.values())}) "  # noqa: S608
        f"AS (VALUES {', '.join([values] * len(rows))}) "
        f"UPDATE {table} SET {', '.join(changes)} FROM given "
        f"WHERE {table}.{quote(fields['pk'].column)} = given.{given['pk']}"
    )
    parameters = [
        fields[name].get_db_prep_save(row[name], connection) for row in rows for name in names
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)
