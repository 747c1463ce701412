"""A hold may be shared by completions: it has no key of its own, and its cost grows while it is
open. Altering the ledger's table makes it anew on SQLite, which loses its guards, so they are put
back."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q
from django.utils import timezone

from roocloud.lib.append_only import statements


def begin_at_nothing(apps, schema_editor):
    apps.get_model("credits", "Hold")._base_manager.filter(cost_nanos=None).update(cost_nanos=0)


def guard_again(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for statement in statements("sqlite", "credits_entry"):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("credits", "0005_grant_permission")]

    operations = [
        migrations.RemoveConstraint("hold", "credits_hold_settled_whole_and_within"),
        migrations.RemoveConstraint("hold", "credits_hold_not_negative"),
        migrations.RemoveConstraint("hold", "credits_hold_once_per_key"),
        migrations.RemoveIndex("hold", "credits_hold_open"),
        migrations.RunPython(begin_at_nothing, migrations.RunPython.noop),
        migrations.RemoveField("hold", "key"),
        migrations.AlterField("hold", "cost_nanos", models.BigIntegerField(default=0)),
        migrations.AddField(
            "hold", "seen_at", models.DateTimeField(default=timezone.now), preserve_default=False
        ),
        migrations.AlterField(
            "entry",
            "hold",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="credits.hold",
            ),
        ),
        migrations.RunPython(guard_again, migrations.RunPython.noop),
        migrations.AddConstraint(
            "hold",
            models.CheckConstraint(
                condition=Q(cost_nanos__gte=0, cost_nanos__lte=F("amount_nanos")),
                name="credits_hold_within",
            ),
        ),
        migrations.AddIndex(
            "hold",
            models.Index(
                condition=Q(settled_at=None), fields=["seen_at"], name="credits_hold_open"
            ),
        ),
    ]
