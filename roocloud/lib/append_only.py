"""Tables whose rows are added and never changed: the database itself refuses (C1, L4)."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

_SQLITE = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_POSTGRES = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
FOR EACH ROW EXECUTE FUNCTION {table}_refuse()
"""


def statements(vendor: str, table: str) -> list[str]:
    """SQL that makes ``table`` refuse UPDATE and DELETE. ``vendor``: sqlite or postgresql."""
    if vendor == "sqlite":
        return [_SQLITE.format(table=table, verb=verb) for verb in ("update", "delete")]
    return [
        _POSTGRES_FUNCTION.format(table=table),
        *(_POSTGRES.format(table=table, verb=verb) for verb in ("update", "delete")),
    ]


def make_append_only(table: str) -> migrations.RunPython:
    """A migration operation. ``table`` is a name in our own code, never input."""

    def forwards(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        for statement in statements(schema_editor.connection.vendor, table):
            schema_editor.execute(statement)

    def backwards(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        on_table = f" ON {table}" if schema_editor.connection.vendor == "postgresql" else ""
        for verb in ("update", "delete"):
            schema_editor.execute(f"DROP TRIGGER {table}_no_{verb}{on_table}")

    return migrations.RunPython(forwards, backwards)


def restore_append_only(table: str) -> migrations.RunPython:
    """A migration operation for after a change of such a table: SQLite makes it anew for most, and
    its triggers go with the old one."""

    def forwards(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        if schema_editor.connection.vendor == "sqlite":
            for verb in ("update", "delete"):
                schema_editor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
            for statement in statements("sqlite", table):
                schema_editor.execute(statement)

    return migrations.RunPython(forwards, migrations.RunPython.noop)
