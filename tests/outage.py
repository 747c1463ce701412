"""Dependencies that are down."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses: bound, and not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def of_database() -> Iterator[None]:
    """The database is where nothing answers, for connections that are made meanwhile."""
    before = dict(connection.settings_dict)
    _hang_up()
    with closed_port() as port:
        if connection.vendor == "sqlite":
            connection.settings_dict["NAME"] = "/nowhere/roocloud.sqlite3"
        else:
            pool = {"min_size": 0, "max_size": 1, "timeout": 0.2}
            connection.settings_dict |= {
                "HOST": "127.0.0.1",
                "PORT": port,
                "OPTIONS": {**before["OPTIONS"], "pool": pool},
            }
        try:
            yield
        finally:
            _hang_up()
            connection.settings_dict |= before


def _hang_up() -> None:
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()
