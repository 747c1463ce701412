"""Log records as JSON lines: a constant sentence, and ids in ``extra``."""

import json
import logging
import re
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


#: Share links, invitations and keys to reset a password are parts of paths; ids are shorter.
_SECRET = re.compile(r"[\w%~.=+-]{32,}")


class WithoutSecrets(logging.Filter):
    """Takes out of Django's records of requests what their address may give away (I1)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True. The request goes: its text form has the query string, where tickets are."""
        if vars(record).pop("request", None) is not None and isinstance(record.args, tuple):
            record.args = tuple(
                _SECRET.sub("…", given) if isinstance(given, str) else given
                for given in record.args
            )
        return True


#: What uvicorn says for a text of a WebSocket that is none, and for a handshake that we refuse by
#: its status.
_FAULTS_OF_CLIENTS = {
    "Invalid UTF-8 sequence received from client.",
    "ASGI callable returned without completing handshake.",
}


class WithoutFaultsOfClients(logging.Filter):
    """Takes out what uvicorn calls errors, and any client can cause (F2)."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg not in _FAULTS_OF_CLIENTS


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(
            (key, str(value)) for key, value in vars(record).items() if key not in _STANDARD
        )
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
