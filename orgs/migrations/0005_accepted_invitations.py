from django.db import migrations


def count_them(apps, schema_editor):
    """Invitations that were accepted before uses were counted are used up."""
    invitations = apps.get_model("orgs", "Invitation")._base_manager
    invitations.filter(uses=0).exclude(accepted_at=None).update(uses=1)


class Migration(migrations.Migration):
    dependencies = [("orgs", "0004_invitation_links")]

    operations = [migrations.RunPython(count_them, migrations.RunPython.noop)]
