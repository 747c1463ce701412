"""The Celery application, and its worker and scheduler inside the embedded process."""

import logging
import os
import threading
from functools import partial
from typing import Any

from celery import Celery, signals
from celery.beat import EmbeddedService
from celery.contrib.django.task import DjangoTask
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from kombu.exceptions import OperationalError

from roocloud.checks import refuse_unsafe_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roocloud.settings")

logger = logging.getLogger(__name__)


class Job(DjangoTask):  # type: ignore[misc]  # celery ships no types
    """What is queued by ``delay_on_commit`` has its state in a row: a queue that is down delays it
    until the sweep, and does not fail the request, which has committed already (E1)."""

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        transaction.on_commit(partial(self._offer, *args, **kwargs))

    def _offer(self, *args: Any, **kwargs: Any) -> None:
        try:
            self.delay(*args, **kwargs)
        except OperationalError:
            logger.warning("The queue did not take a job", extra={"job": self.name}, exc_info=True)


app = Celery("roocloud", task_cls=Job)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def _refuse_to_start(**_sender: Any) -> None:
    """Workers and schedulers stand on the same settings as the web processes (I4)."""
    if settings.ROOCLOUD_MODE != "production":
        return
    try:
        refuse_unsafe_settings()
    except ImproperlyConfigured as unsafe:
        # Celery logs and passes over what a signal's handler raises, except for this.
        raise SystemExit(str(unsafe)) from None


signals.worker_init.connect(_refuse_to_start)
signals.beat_init.connect(_refuse_to_start)


class EmbeddedJobs:
    """A worker and a scheduler as threads of this process, for the deployment without a broker.

    What a queue in memory forgets when the process ends is found again by the sweeps: the state of
    every job is a row.
    """

    def __init__(self) -> None:
        self._worker: Any = app.WorkController(
            pool="threads", concurrency=2, without_gossip=True, without_mingle=True
        )
        self._beat: Any = EmbeddedService(
            app, thread=True, max_interval=5, scheduler_cls="celery.beat:Scheduler"
        )
        self._thread = threading.Thread(target=self._worker.start, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._beat.start()

    def stop(self) -> None:
        """Ends both; a job that is running is given five seconds."""
        self._beat.stop()
        self._worker.stop()
        self._thread.join(timeout=5)
