"""The words of this room, for all rooms."""

from django.db import models


class Kind(models.TextChoices):
    """What a notification is about."""

    APPROVAL = "approval", "Needs approval"
    QUESTION = "question", "Question"
    FINISHED = "finished", "Finished"
    FAILED = "failed", "Failed"
    BUDGET = "budget", "Budget almost used"
    TEST = "test", "Test"


class Channel(models.TextChoices):
    PUSH = "push", "Browser"
    MAIL = "mail", "E-mail"
