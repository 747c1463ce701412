"""Changing many rows in one statement."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection, models


def update_rows(
    model: type[models.Model], rows: Sequence[Mapping[str, Any]], *, where_null: str | None = None
) -> set[Any]:
    """``UPDATE … FROM (VALUES …)``; the primary keys of the rows that changed.

    rows: each with ``pk`` and the same fields. where_null: a field that must be null so far.
    """
    if not rows:
        return set()
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
        f"{quote(fields[name].column)} = given.{given[name]}" for name in names if name != "pk"
    ]
    key = f"{table}.{quote(fields['pk'].column)}"
    condition = ""
    if where_null is not None:
        condition = f" AND {table}.{quote(_column(model, where_null))} IS NULL"
    # Names are the model's own, and every value is a parameter.
    sql = (
        f"WITH given({', '.join(given.values())}) "  # noqa: S608
        f"AS (VALUES {', '.join([values] * len(rows))}) "
        f"UPDATE {table} SET {', '.join(changes)} FROM given "
        f"WHERE {key} = given.{given['pk']}{condition} RETURNING {key}"
    )
    parameters = [
        fields[name].get_db_prep_save(row[name], connection) for row in rows for name in names
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {row[0] for row in cursor.fetchall()}


def add_sums(
    model: type[models.Model],
    sums: models.QuerySet[Any, Any],
    *,
    key: Sequence[str],
    add: Sequence[str],
) -> None:
    """``INSERT … SELECT … ON CONFLICT DO UPDATE``: add sums to the rows of their keys.

    sums: a grouped ``values_list`` with a WHERE, of the fields ``key`` and ``add`` in this order.
    key: fields of a unique constraint.
    """
    quote = connection.ops.quote_name
    columns = [quote(_column(model, name)) for name in (*key, *add)]
    table = quote(model._meta.db_table)
    changes = [f"{column} = {table}.{column} + EXCLUDED.{column}" for column in columns[len(key) :]]
    selected, parameters = sums.query.sql_with_params()
    # Names are the model's own, and every value is a parameter.
    sql = (
        f"INSERT INTO {table} ({', '.join(columns)}) {selected} "
        f"ON CONFLICT ({', '.join(columns[: len(key)])}) DO UPDATE SET {', '.join(changes)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _column(model: type[models.Model], name: str) -> str:
    field: Any = model._meta.get_field(name)
    return str(field.column)
