"""PostgreSQL keeps the words of a task as it compares them. Where many tasks have a word it walks along
their order instead of its index, and made the vector of each task on the way: a tenth of a second
for a page that filters what it found."""

from django.db import migrations

VECTOR = "array_to_tsvector(string_to_array(words, ' '))"


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE tasks_sharing_tasktext"
            f" ADD COLUMN vector tsvector GENERATED ALWAYS AS ({VECTOR}) STORED"
        )
        schema_editor.execute("DROP INDEX tasks_text_words")
        schema_editor.execute(
            "CREATE INDEX tasks_text_words ON tasks_sharing_tasktext USING gin (vector)"
        )


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX tasks_text_words")
        schema_editor.execute("ALTER TABLE tasks_sharing_tasktext DROP COLUMN vector")
        schema_editor.execute(
            f"CREATE INDEX tasks_text_words ON tasks_sharing_tasktext USING gin ({VECTOR})"
        )


class Migration(migrations.Migration):

    dependencies = [("tasks_sharing", "0012_gists")]

    operations = [migrations.RunPython(forwards, backwards)]
