"""The words of tasks are looked up by a GIN index on PostgreSQL, and by FTS5 on SQLite. Its table holds
no text of its own: triggers tell it what comes and goes. An operation that makes SQLite build
tasks_sharing_tasktext anew must make the triggers anew."""

from django.db import migrations

POSTGRESQL = """
CREATE INDEX tasks_text_words ON tasks_sharing_tasktext
USING gin (array_to_tsvector(string_to_array(words, ' ')))
"""
TABLE = """
CREATE VIRTUAL TABLE tasks_sharing_search
USING fts5(scope, words, content='', tokenize='unicode61 remove_diacritics 0')
"""
#: Of a member in an organization, and of the organization: a word each (tasks_sharing.search).
SCOPE = (
    "replace({row}.owner_id || coalesce({row}.organization_id, ''), '_', '')"
    " || ' ' || replace(coalesce({row}.organization_id, ''), '_', '')"
)
ADD = f"INSERT INTO tasks_sharing_search(rowid, scope, words) VALUES (new.id, {SCOPE.format(row='new')}, new.words);"
REMOVE = (
    "INSERT INTO tasks_sharing_search(tasks_sharing_search, rowid, scope, words)"
    f" VALUES ('delete', old.id, {SCOPE.format(row='old')}, old.words);"
)
TRIGGERS = {"insert": ADD, "delete": REMOVE, "update": REMOVE + ADD}


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL)
        return
    schema_editor.execute(TABLE)
    for verb, act in TRIGGERS.items():
        schema_editor.execute(
            f"CREATE TRIGGER tasks_text_{verb} AFTER {verb} ON tasks_sharing_tasktext BEGIN {act} END"
        )


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX tasks_text_words")
        return
    for verb in TRIGGERS:
        schema_editor.execute(f"DROP TRIGGER tasks_text_{verb}")
    schema_editor.execute("DROP TABLE tasks_sharing_search")


class Migration(migrations.Migration):

    dependencies = [("tasks_sharing", "0009_search_texts")]

    operations = [migrations.RunPython(forwards, backwards)]
