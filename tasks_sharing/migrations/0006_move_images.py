"""Images leave the messages that were recorded with them inside. Repeatable: a message whose images
were moved has none to move."""

from django.db import migrations, transaction

from roocloud.lib import wire
from tasks_sharing import pictures


def move(apps, schema_editor):
    Message = apps.get_model("tasks_sharing", "Message")
    Image = apps.get_model("tasks_sharing", "Image")
    ImageUse = apps.get_model("tasks_sharing", "ImageUse")
    rows = Message.unscoped.filter(body__contains="data:image/").order_by("pk")
    for pk in list(rows.values_list("pk", flat=True)):
        row = Message.unscoped.select_related("task").get(pk=pk)
        document, found = pictures.take_out(wire.loads(row.body.encode()), row.kind)
        if not found:
            continue
        tenant_id = row.task.organization_id or row.task.owner_id
        with transaction.atomic():
            for image in found:
                stored, _ = Image.unscoped.get_or_create(
                    tenant_id=tenant_id,
                    digest=image.digest,
                    defaults={"content_type": image.content_type, "data": image.data},
                )
                ImageUse.unscoped.get_or_create(task=row.task, image=stored)
            Message.unscoped.filter(pk=pk).update(body=wire.dumps(document))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tasks_sharing", "0005_images")]

    operations = [migrations.RunPython(move, migrations.RunPython.noop)]
