"""Writing many rows in one statement, whose text does not depend on how many.

The rows travel as one JSON document: databases read that faster than parameters by the thousand are
written, and the statement is the same each time.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from django.db import connection, models

Row = Mapping[str, Any]


def update_rows(
    model: type[models.Model], rows: Sequence[Row], *, where_null: str | None = None
) -> set[Any]:
    """``UPDATE … FROM``; the primary keys of the rows that changed.

    rows: each with ``pk`` and the same fields; of foreign keys, the keys. where_null: a field that
    must be null so far.
    """
    if not rows:
        return set()
    return _run(_update(model, tuple(rows[0]), where_null, connection.vendor), model, rows)


def insert_rows(
    model: type[models.Model],
    rows: Sequence[Row],
    *,
    unique: Sequence[str],
    update: Sequence[str] = (),
    add: Sequence[str] = (),
    where_null: str | None = None,
    returning: str = "pk",
) -> set[Any]:
    """``INSERT … ON CONFLICT``; the ``returning`` field of the rows that were added or changed.

    rows: with the same fields each; of foreign keys, the keys. unique: fields of a unique
    constraint. A row that is there takes over the fields ``update`` and adds the fields ``add`` to
    its own, if its field ``where_null`` is null; without either it stays as it is.
    """
    if not rows:
        return set()
    statement = _insert(
        model,
        tuple(rows[0]),
        tuple(unique),
        tuple(update),
        tuple(add),
        where_null,
        returning,
        connection.vendor,
    )
    return _run(statement, model, rows)


def _run(statement: str, model: type[models.Model], rows: Sequence[Row]) -> set[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [_document(model, rows)])
        return {row[0] for row in cursor.fetchall()}


def _document(model: type[models.Model], rows: Sequence[Row]) -> str:
    if connection.vendor == "sqlite":  # which has no dates, and compares the texts of Django's form
        dates = [name for name in rows[0] if isinstance(_field(model, name), models.DateTimeField)]
        adapt = connection.ops.adapt_datetimefield_value
        rows = [{**row, **{name: adapt(row[name]) for name in dates}} for row in rows]
    return msgspec.json.encode(rows).decode()


# Names in the statements are the models' own; every value is in the one parameter.


@lru_cache(maxsize=64)
def _update(
    model: type[models.Model], names: tuple[str, ...], where_null: str | None, vendor: str
) -> str:
    table, column = _table(model), _columns(model, names)
    changes = [f"{column[name]} = given.{_quoted(name)}" for name in names if name != "pk"]
    condition = f" AND {table}.{_column(model, where_null)} IS NULL" if where_null else ""
    return (
        f"UPDATE {table} SET {', '.join(changes)} FROM {_given(model, names, vendor)} "  # noqa: S608
        f"WHERE {table}.{column['pk']} = given.pk{condition} RETURNING {table}.{column['pk']}"
    )


@lru_cache(maxsize=64)
def _insert(
    model: type[models.Model],
    names: tuple[str, ...],
    unique: tuple[str, ...],
    update: tuple[str, ...],
    add: tuple[str, ...],
    where_null: str | None,
    returning: str,
    vendor: str,
) -> str:
    table, column = _table(model), _columns(model, names)
    changes = [f"{column[name]} = EXCLUDED.{column[name]}" for name in update]
    changes += [f"{column[n]} = {table}.{column[n]} + EXCLUDED.{column[n]}" for n in add]
    conflict = f"DO UPDATE SET {', '.join(changes)}" if changes else "DO NOTHING"
    if changes and where_null:
        conflict += f" WHERE {table}.{_column(model, where_null)} IS NULL"
    return (
        f"INSERT INTO {table} ({', '.join(column.values())}) "  # noqa: S608
        f"SELECT {', '.join(f'given.{_quoted(name)}' for name in names)} "
        f"FROM {_given(model, names, vendor)} WHERE true "  # SQLite could read ON as a join's
        f"ON CONFLICT ({', '.join(_column(model, name) for name in unique)}) {conflict} "
        f"RETURNING {table}.{_column(model, returning)}"
    )


def _given(model: type[models.Model], names: Iterable[str], vendor: str) -> str:
    """The document as a table ``given``, with a column of each name."""
    if vendor == "sqlite":
        columns = [f"json_extract(value, '$.{name}') AS {_quoted(name)}" for name in names]
        return f"(SELECT {', '.join(columns)} FROM json_each(%s)) AS given"  # noqa: S608
    typed = [f"{_quoted(name)} {_field(model, name).db_type(connection)}" for name in names]
    return f"json_to_recordset(%s) AS given({', '.join(typed)})"


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def _column(model: type[models.Model], name: str) -> str:
    return _quoted(_field(model, name).column)


def _columns(model: type[models.Model], names: Iterable[str]) -> dict[str, str]:
    return {name: _column(model, name) for name in names}


def _table(model: type[models.Model]) -> str:
    return _quoted(model._meta.db_table)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
