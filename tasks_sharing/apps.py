from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_delete, pre_delete


class TasksSharingConfig(AppConfig):
    name = "tasks_sharing"
    verbose_name = "Tasks and shares"

    def ready(self) -> None:
        from orgs import estate
        from roocloud.lib import sealed
        from tasks_sharing import personal
        from tasks_sharing.estate import Part
        from tasks_sharing.models import Mask, Share

        sealed.register(
            Share,
            "sealed_token",
            lambda row: sealed.renewed(row.sealed_token, context=row.token_context),
        )
        sealed.register(
            Mask,
            "sealed",
            lambda row: (
                sealed.renewed(row.sealed, context=row.sealed_context) if row.sealed else None
            ),
        )
        # However a task goes, alone or with its owner or organization, its images go too.
        pre_delete.connect(_forget_images, sender="tasks_sharing.Task")
        post_delete.connect(_drop_upload, sender="tasks_sharing.Import")
        estate.register(Part())
        personal.declare()


def _forget_images(*, instance: Any, **_signal: Any) -> None:
    from tasks_sharing import images

    if ids := images.of_task(instance.pk):
        transaction.on_commit(partial(images.forget, ids))


def _drop_upload(*, instance: Any, **_signal: Any) -> None:
    transaction.on_commit(partial(instance.upload.delete, save=False))
