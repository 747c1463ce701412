"""Completions under way in this process: their progress is saved, and silence is filled (C4)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from proxy import admission, demo, holds, idempotency, keeping
from proxy.admission import Admitted, Progress
from proxy.idempotency import Claim
from proxy.models import Completion
from proxy.pricing import NO_USAGE, Usage
from proxy.transcripts import Draft
from proxy.upstreams import Attempts
from roocloud.lib import limits
from roocloud.lib.limits import Lease
from roocloud.lib.loops import PerLoop
from roocloud.lib.threads import run_db

logger = logging.getLogger(__name__)

#: Seconds between two looks at what runs.
TICK_S = 2.0
#: Seconds of silence after which a comment keeps the client's connection open (it gives up at 300).
KEEP_ALIVE_S = 15.0
_RENEW_TICKS = 5  # far more often than limits.LEASE_S


@dataclass(slots=True, eq=False)
class Running:
    """One call, and how it goes. usage: what it used up to now, and whether that is an estimate.
    keep_alive: writes a comment to its client; None for an answer in one piece. written_at: loop
    time of the last byte to the client. claim: of the key that the request names itself by. draft:
    of the transcript, where one is kept."""

    admitted: Admitted
    leases: Sequence[Lease] = ()
    status: str = Completion.Status.FAILED
    usage: Callable[[], tuple[Usage, bool]] = lambda: (NO_USAGE, False)
    error: str = ""
    attempts: Attempts = field(default_factory=Attempts)
    first_byte_ms: int | None = None
    keep_alive: Callable[[], Awaitable[None]] | None = None
    written_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    claim: Claim | None = None
    draft: Draft | None = None

    def note_first_byte(self) -> None:
        if self.first_byte_ms is None:
            elapsed = timezone.now() - self.admitted.order.at
            self.first_byte_ms = int(elapsed.total_seconds() * 1000)

    @property
    def upstream(self) -> str:
        """The one that was asked last."""
        return self.attempts.upstream or demo.UPSTREAM_NAME


class _Watch:
    """What runs on one event loop, and the task that looks after it while there is anything."""

    def __init__(self) -> None:
        self.calls: set[Running] = set()
        self._task: asyncio.Task[None] | None = None
        self._ticks = 0

    def add(self, run: Running) -> None:
        self.calls.add(run)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        await asyncio.sleep(TICK_S)
        while self.calls or holds.open_ids():
            try:
                await self._tick()
            except Exception:
                logger.exception("The progress of running completions was not saved")
            await asyncio.sleep(TICK_S)

    async def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        for run in list(self.calls):
            if run.keep_alive and now - run.written_at >= KEEP_ALIVE_S:
                run.written_at = now
                await run.keep_alive()
        progress = [Progress(run.admitted, run.usage()[0], run.upstream) for run in self.calls]
        self._ticks += 1
        if self._ticks % _RENEW_TICKS == 0:
            for run in list(self.calls):
                await limits.renew(run.leases)
        held, at = holds.open_ids(), timezone.now()
        if claims := [run.claim for run in self.calls if run.claim]:
            await run_db(idempotency.renew, claims, at=at)
        await run_db(admission.save_progress, progress, held, at)
        for run in self.calls:
            if run.draft:
                keeping.keep(run.draft)


_watches = PerLoop(_Watch)


def begin(run: Running) -> None:
    """Look after a call until ``end``."""
    _watches.here().add(run)


def end(run: Running) -> None:
    _watches.here().calls.discard(run)
    if run.draft:
        keeping.keep(run.draft)


def count() -> int:
    """How many calls this process has under way, in every event loop."""
    return sum(len(watch.calls) for watch in _watches.everywhere())
