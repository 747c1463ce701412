"""The schemas that clients parse our answers with, run by Node."""

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def problems(cases: list[tuple[str, object]]) -> list[dict[str, list[str]]]:
    """For each (schema, value): what each published version that knows the schema objects to."""
    lines = "\n".join(json.dumps({"schema": schema, "value": value}) for schema, value in cases)
    done = subprocess.run(  # noqa: S603 - our own script
        ["node", str(HERE / "validate.mjs")],  # noqa: S607
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_accepted(schema: str, value: object, versions: set[str]) -> None:
    """Every version named parses the value."""
    assert problems([(schema, value)]) == [{version: [] for version in versions}]
