"""The Celery application, and its worker and scheduler inside the embedded process."""

import logging
import os
import threading
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roocloud.settings")

logger = logging.getLogger(__name__)

app = Celery("roocloud")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


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
