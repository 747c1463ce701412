"""Answers that may be a little old, kept in the memory of this process."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from weakref import WeakSet

K = TypeVar("K")
V = TypeVar("V")

_every: "WeakSet[Fresh[object, object]]" = WeakSet()


class Fresh(Generic[K, V]):
    """What was found by key, for at most ``age``; beyond ``size`` entries the oldest is forgotten.

    Safe to share between threads. A cache of rights or policy may live five seconds (B4).
    """

    def __init__(self, *, age: timedelta, size: int = 10_000) -> None:
        self._age = age
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, tuple[datetime, V]] = OrderedDict()
        _every.add(self)  # type: ignore[arg-type]  # a set of caches of anything

    def get(self, key: K, *, at: datetime) -> V | None:
        """None if nothing is known, or only what is too old."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or abs(at - entry[0]) >= self._age:
            return None
        return entry[1]

    def put(self, key: K, value: V, *, at: datetime) -> None:
        with self._lock:
            self._entries[key] = (at, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def forget(self, key: K) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


def forget_everything() -> None:
    """Empty every cache of this kind, as after the database was exchanged."""
    for cache in list(_every):
        cache.clear()
