"""Let each model's upstream become its first route, and bind keys to the host they are sent to."""

from urllib.parse import urlsplit

from django.db import migrations
from django.db.models import F

from roocloud.lib import crypto


def copy(apps, schema_editor):
    Model = apps.get_model("proxy", "LanguageModel")
    Route = apps.get_model("proxy", "Route")
    Route._base_manager.bulk_create(
        Route(
            model_id=model.pk, upstream_id=model.upstream_id, upstream_model=model.upstream_model
        )
        for model in Model._base_manager.all()
    )
    Completion = apps.get_model("proxy", "Completion")
    Completion._base_manager.update(saved_at=F("started_at"))


def bind(apps, schema_editor):
    Upstream = apps.get_model("proxy", "Upstream")
    for upstream in Upstream._base_manager.all():
        before = f"proxy.upstream.api_key:{upstream.pk}:{upstream.organization_id or ''}"
        parts = urlsplit(upstream.base_url)
        after = f"{before}:{parts.scheme}://{parts.netloc}"
        try:
            key = crypto.unseal(upstream.sealed_api_key, context=before)
        except crypto.CannotUnseal:
            continue  # it could not be used before either
        upstream.sealed_api_key = crypto.seal(key, context=after)
        upstream.save(update_fields=["sealed_api_key"])


class Migration(migrations.Migration):
    dependencies = [("proxy", "0002_routes")]

    operations = [
        migrations.RunPython(copy, migrations.RunPython.noop),
        migrations.RunPython(bind, migrations.RunPython.noop),
    ]
