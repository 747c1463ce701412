"""The insert-only trail. It holds ids and labels, no foreign keys, so that every room can write to
it and no deletion reaches it."""

from django.db import models

from roocloud.lib.ids import new_id


def _new_id() -> str:
    return new_id("aud")


class Entry(models.Model):
    """One thing that was done, by whom, to what."""

    id = models.CharField(primary_key=True, max_length=40, default=_new_id, editable=False)
    at = models.DateTimeField()
    action = models.CharField(max_length=64)  # "share.created"
    actor_id = models.CharField(max_length=40, blank=True)  # empty: the server itself
    actor_kind = models.CharField(max_length=16, blank=True)  # how they were known: "web", "cli" …
    session_id = models.CharField(max_length=40, blank=True)
    organization_id = models.CharField(max_length=40, blank=True)
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=128)
    before = models.JSONField(null=True)  # shaped by the action; never a secret
    after = models.JSONField(null=True)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["-at", "id"], name="audit_entry_recent"),
            models.Index(fields=["target_kind", "target_id"], name="audit_entry_target"),
            models.Index(fields=["organization_id", "-at"], name="audit_entry_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id}"
