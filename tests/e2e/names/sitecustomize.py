"""A name server for the processes of one test: Python runs this at start where it is on the path.

ROOCLOUD_TEST_HOST is this machine, as a public name would be on a server.
"""

import os
import socket
from typing import Any

_look_up = socket.getaddrinfo


def _known(host: Any, *args: Any, **kwargs: Any) -> Any:
    here = os.environ.get("ROOCLOUD_TEST_HOST")
    return _look_up("127.0.0.1" if host == here else host, *args, **kwargs)


socket.getaddrinfo = _known
