"""The insert-only trail. It holds ids and labels, no foreign keys, so that every room can write to
it and no deletion reaches it.

An entry is written in the transaction of the deed, and soon after joined to a chain: see ``chain``.
"""

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
    network = models.CharField(max_length=43, blank=True)  # from where; see lib.addresses
    request_id = models.CharField(max_length=64, blank=True)
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
            models.Index(fields=["actor_id", "-at"], name="audit_entry_actor"),
            models.Index(fields=["action", "-at"], name="audit_entry_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id}"


class Loose(models.Model):
    """An entry that is not in the chain yet: written with it, deleted when it is linked."""

    entry_id = models.CharField(max_length=40, unique=True)
    sealed_digest = models.CharField(max_length=200)  # of the entry as it was written

    class Meta:
        verbose_name = "entry to be chained"
        verbose_name_plural = "entries to be chained"

    def __str__(self) -> str:
        return self.entry_id


class Link(models.Model):
    """The place of an entry in the chain. Its digest covers the entry and the digest before it."""

    sequence = models.BigIntegerField(primary_key=True)  # from 1, without gaps
    entry_id = models.CharField(max_length=40, unique=True)
    digest = models.CharField(max_length=64)
    #: What was wrong with the entry when it was linked. Empty: it was as it had been written.
    fault = models.CharField(max_length=40, blank=True)
    linked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.sequence} {self.entry_id}"


class Chain(models.Model):
    """The one row that who links holds: where the chain ends, and the key of its digests."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    sealed_key = models.CharField(max_length=200)
    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audit_one_chain")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.digest}"


class Check(models.Model):
    """What a look through the whole chain found, and where the chain ended then."""

    at = models.DateTimeField()
    is_intact = models.BooleanField()
    links = models.BigIntegerField()
    digest = models.CharField(max_length=64, blank=True)
    fault = models.CharField(max_length=300, blank=True)  # the first bad row

    class Meta:
        indexes = [models.Index(fields=["-at", "id"], name="audit_check_recent")]

    def __str__(self) -> str:
        return self.fault or f"{self.links} links are as they were written"
