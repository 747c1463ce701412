"""Secrets that the embedded deployment makes for itself at its first start."""

import json
import os
import secrets
from pathlib import Path

from roocloud.lib.crypto import new_key


def load_or_make(data_dir: Path) -> dict[str, str]:
    """``secret_key`` and ``field_key`` from ``secrets.json`` in the data directory (mode 0600).

    Keep that file apart from backups of the database: the field key opens the provider keys in it.
    """
    path = data_dir / "secrets.json"
    try:
        loaded: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = {"secret_key": secrets.token_urlsafe(48), "field_key": new_key("k1")}
        scratch = data_dir / f".secrets.{os.getpid()}.json"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(made, file)
        try:
            os.link(scratch, path)  # fails if another process was first: then theirs counts
        except FileExistsError:
            return load_or_make(data_dir)
        finally:
            scratch.unlink()
        return made
    return loaded
