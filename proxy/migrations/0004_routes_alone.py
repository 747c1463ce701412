from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("proxy", "0003_copy_routes")]

    operations = [
        migrations.RemoveField(model_name="languagemodel", name="upstream"),
        migrations.RemoveField(model_name="languagemodel", name="upstream_model"),
    ]
