"""The tables of the chain are append-only too, and entries of before wait to be linked. Safe to run
again."""

from itertools import islice
from typing import Any

from django.db import migrations

from audit.chain import loose
from roocloud.lib.append_only import make_append_only, restore_append_only


def loosen(apps: Any, schema_editor: Any) -> None:
    table = apps.get_model("audit", "Loose")
    entries = apps.get_model("audit", "Entry").objects.order_by("at", "pk")
    found = entries.iterator(chunk_size=500)
    while rows := [loose(entry) for entry in islice(found, 500)]:
        table.objects.bulk_create(
            [table(entry_id=row.entry_id, sealed_digest=row.sealed_digest) for row in rows],
            ignore_conflicts=True,
        )


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_chain")]

    operations = [
        restore_append_only("audit_entry"),
        make_append_only("audit_link"),
        make_append_only("audit_check"),
        migrations.RunPython(loosen, migrations.RunPython.noop),
    ]
