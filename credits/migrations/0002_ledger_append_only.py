from django.db import migrations

from roocloud.lib.append_only import make_append_only


class Migration(migrations.Migration):
    dependencies = [("credits", "0001_initial")]

    operations = [make_append_only("credits_entry")]
