"""The schemas that clients parse our answers with, run by Node."""

import atexit
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def problems(cases: list[tuple[str, object]]) -> list[dict[str, list[str]]]:
    """For each (schema, value): what each published version that knows the schema objects to."""
    return [_problems(schema, value) for schema, value in cases]


def parsed(schema: str, value: object) -> dict[str, Any]:
    """What each published version that knows the schema reads of the value; None for a refusal."""
    return _asked({"schema": schema, "value": value, "keep": True})


def _problems(schema: str, value: object) -> dict[str, list[str]]:
    return _asked({"schema": schema, "value": value})


def _asked(question: dict[str, object]) -> dict[str, Any]:
    validator = _validator()
    assert validator.stdin
    assert validator.stdout
    validator.stdin.write(json.dumps(question) + "\n")
    validator.stdin.flush()
    line = validator.stdout.readline()
    assert line, "the validator ended"
    found: dict[str, Any] = json.loads(line)
    return found


@cache
def _validator() -> "subprocess.Popen[str]":
    """It loads both versions once for all tests of this process."""
    started = subprocess.Popen(  # noqa: S603 - our own script
        ["node", str(HERE / "validate.mjs")],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, started)
    return started


def _end(started: "subprocess.Popen[str]") -> None:
    with started:  # which closes its pipes and waits for it
        started.kill()


def assert_accepted(schema: str, value: object, versions: set[str]) -> None:
    """Every version named parses the value."""
    assert problems([(schema, value)]) == [{version: [] for version in versions}]
