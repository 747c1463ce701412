"""Keep the sum of open holds on the account, so that admitting a completion reads one row."""

from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce


def add_up(apps, schema_editor):
    Account = apps.get_model("credits", "Account")
    Hold = apps.get_model("credits", "Hold")
    open_holds = (
        Hold._base_manager.filter(account=OuterRef("pk"), settled_at=None)
        .order_by()
        .values("account")
        .annotate(total=Sum("amount_nanos"))
        .values("total")
    )
    Account._base_manager.update(held_nanos=Coalesce(Subquery(open_holds), 0))


class Migration(migrations.Migration):
    dependencies = [("credits", "0002_ledger_append_only")]

    operations = [
        migrations.AddField(
            model_name="account",
            name="held_nanos",
            field=models.BigIntegerField(default=0),
        ),
        migrations.RunPython(add_up, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=Q(("held_nanos__gte", 0)), name="credits_account_held_not_negative"
            ),
        ),
    ]
