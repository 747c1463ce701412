"""What each event loop has one of."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """``make`` is called where one is asked for first; what it made goes with its loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def here(self) -> T:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        made = self._made.get(loop)
        if made is None:
            made = self._made[loop] = self._make()
        return made

    def made_here(self) -> T | None:
        """The same, if it was asked for before."""
        return self._made.get(asyncio.get_running_loop())

    def forget(self) -> T | None:
        """Take that of the running loop away, if there is one."""
        return self._made.pop(asyncio.get_running_loop(), None)

    def everywhere(self) -> list[T]:
        """Those of all loops."""
        return list(self._made.values())
