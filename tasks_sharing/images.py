"""Images on record: once for each tenant, for as long as a task has them."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from tasks_sharing import metadata, pictures
from tasks_sharing.models import Image, ImageUse, Message, Task
from tasks_sharing.pictures import Found


def keep(task: Task, found: Iterable[Found]) -> None:
    """Store what is not stored yet, and note that the task has it, in the caller's transaction."""
    by_digest = {image.digest: image for image in found}
    if not by_digest:
        return
    # Locked until the task's use of them is committed: forget() waits, and then finds it.
    known = Image.unscoped.select_for_update().filter(
        tenant_id=task.tenant_id, digest__in=by_digest
    )
    ids = dict(known.order_by("pk").values_list("digest", "pk"))
    missing = [image for digest, image in sorted(by_digest.items()) if digest not in ids]
    made = Image.unscoped.bulk_create(
        [
            Image(
                tenant_id=task.tenant_id,
                digest=image.digest,
                content_type=image.content_type,
                data=image.data,
            )
            for image in missing
        ],
        update_conflicts=True,  # somebody else's of this moment: theirs, locked likewise
        unique_fields=["tenant_id", "digest"],
        update_fields=["content_type"],
    )
    ImageUse.unscoped.bulk_create(
        [ImageUse(task=task, image_id=pk) for pk in [*ids.values(), *(row.pk for row in made)]],
        ignore_conflicts=True,
    )


def find(message: Message, index: int) -> Image | None:
    """An image of a message, by its place there. The message's task is the reader's to open."""
    digest = pictures.digest_at(message.document, index)
    if digest is None:
        return None
    return Image.unscoped.filter(tenant_id=message.task.tenant_id, digest=digest).first()


def bared(image: Image) -> Image | None:
    """The image as strangers may have it, not to be saved; None for one that nobody can read."""
    data = metadata.without_metadata(image.content_type, bytes(image.data))
    return Image(content_type=image.content_type, data=data) if data is not None else None


def put_back(task: Task, document: dict[str, Any], *, bare: bool = False) -> dict[str, Any]:
    """A stored message of a task as its client sent it, with the images in it. bare: without their
    metadata, and without those that nobody can read."""
    wanted = pictures.digests(document)
    if not wanted:
        return document
    rows = Image.unscoped.filter(tenant_id=task.tenant_id, digest__in=wanted)
    shown = {row.digest: bared(row) if bare else row for row in rows}
    found = {
        digest: Found(digest, image.content_type, bytes(image.data))
        for digest, image in shown.items()
        if image is not None
    }
    return pictures.put_back(document, found)


def of_task(task_pk: str) -> list[int]:
    """Keys of the images that a task has."""
    return list(ImageUse.unscoped.filter(task_id=task_pk).values_list("image_id", flat=True))


def forget(image_ids: list[int]) -> None:
    """Delete those of the images that no task has."""
    with transaction.atomic():
        # Locked first and counted after: a task that takes one up at this moment is either seen,
        # or waits and stores the image anew.
        rows = Image.unscoped.select_for_update().filter(pk__in=image_ids).order_by("pk")
        locked = list(rows.values_list("pk", flat=True))
        Image.unscoped.filter(pk__in=locked, uses=None).delete()


def forget_unused(*, limit: int = 1000) -> None:
    """Delete images that no task has: those of tasks whose deletion was interrupted."""
    unused = Image.unscoped.filter(uses=None).order_by("pk")
    forget(list(unused.values_list("pk", flat=True)[:limit]))
