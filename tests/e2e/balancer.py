"""A balancer as operators put before several processes: each connection goes to the next one that
says it is well."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Balancer:
    """url: where it listens. backends: URLs, filled in once they run."""

    def __init__(self, is_well: Callable[[str], bool]) -> None:
        self._is_well = is_well
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.backends: list[str] = []
        self._turn = 0

    def serve(self) -> None:
        """Until it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._lead, args=[client], daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _lead(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            for _ in self.backends:
                self._turn += 1
                backend = self.backends[self._turn % len(self.backends)]
                if self._is_well(backend):
                    target = urlsplit(backend)
                    with socket.create_connection(
                        (target.hostname or "", target.port or 0)
                    ) as server:
                        back = threading.Thread(target=_pass, args=[server, client], daemon=True)
                        back.start()
                        _pass(client, server)
                        back.join()
                    return


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def balancer(is_well: Callable[[str], bool]) -> Iterator[Balancer]:
    """A running one."""
    made = Balancer(is_well)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(10)
