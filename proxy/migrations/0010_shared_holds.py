"""Completions may share a hold, and say themselves how much of it was set aside for them."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce


def copy_amounts(apps, schema_editor):
    hold = apps.get_model("credits", "Hold")._base_manager.filter(pk=OuterRef("hold_id"))
    apps.get_model("proxy", "Completion")._base_manager.update(
        held_nanos=Coalesce(Subquery(hold.values("amount_nanos")), 0)
    )


class Migration(migrations.Migration):
    dependencies = [
        ("credits", "0006_shared_holds"),
        ("proxy", "0009_kinds_of_models_and_images"),
    ]

    operations = [
        migrations.AlterField(
            "completion",
            "hold",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="completions",
                to="credits.hold",
            ),
        ),
        migrations.AddField("completion", "held_nanos", models.BigIntegerField(default=0)),
        migrations.RunPython(copy_amounts, migrations.RunPython.noop),
    ]
