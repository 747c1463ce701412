"""Rules about the source itself (N2, L1), each proven on a failing example."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from channels.layers import get_channel_layer
from django.core.cache import cache

from roocloud.lib import limits

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [
    "audit",
    "accounts",
    "notifications",
    "orgs",
    "credits",
    "tasks_sharing",
    "proxy",
    "telemetry",
    "bridge",
    "roocloud",
]
SOURCES = [
    path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "migrations" not in path.parts
]  # fmt: skip
#: What is banned by name, and the one module that may use it.
BANNED = {
    "mark_safe": {"tasks_sharing/markup.py"},
    "raw": set(),
    "RawSQL": set(),
    "extra": set(),
    "pickle": set(),
    "csrf_exempt": set(),
    "eval": set(),
    "exec": set(),
    "requests": set(),
    "httpx": set(),
    "ClientSession": {"roocloud/lib/outbound.py"},
}
#: Modules whose calls of a banned name mean something else, or that have a reason.
EXCEPTIONS = {
    ("ClientSession", path) for path in ("accounts/admin.py", "accounts/actions.py", "accounts/models.py")
}  # fmt: skip


def offences(source: str, path: str) -> list[str]:
    """Names of what the source uses and may not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = (
                node.func.attr
                if isinstance(node.func, ast.Attribute)
                else getattr(node.func, "id", "")
            )
            is_orm = name in ("raw", "extra") and isinstance(node.func, ast.Attribute)
            if name in BANNED and (is_orm or name not in ("raw", "extra")):
                found.append(name)
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if (keyword.arg, value) in (("shell", True), ("verify", False)):
                    found.append(f"{keyword.arg}={value}")
            if name in ("filter", "exclude", "get", "create", "update") and any(
                k.arg is None and "request" in ast.unparse(k.value) for k in node.keywords
            ):
                found.append("request expanded into the ORM")
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        module = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
        found += [
            n
            for n in [*names, module or ""]
            if n.partition(".")[0] in ("pickle", "requests", "httpx")
        ]
    return [n for n in found if path not in BANNED.get(n, set()) and (n, path) not in EXCEPTIONS]


@pytest.mark.parametrize(
    "bad",
    [
        "Task.objects.raw('SELECT 1')", "q.extra(where=['1'])", "RawSQL('1', ())", "mark_safe(x)",
        "import pickle", "from requests import get", "import httpx", "subprocess.run(x, shell=True)",
        "get(url, verify=False)", "Task.objects.filter(**request.GET)", "csrf_exempt(view)", "eval(x)",
        "aiohttp.ClientSession()",
    ],
)  # fmt: skip
def test_the_walk_notices(bad):
    assert offences(bad, "some/module.py")


def test_no_source_uses_what_is_banned():
    """N2"""
    found = {
        str(path.relative_to(ROOT)): names
        for path in SOURCES
        if (names := offences(path.read_text(), str(path.relative_to(ROOT))))
    }
    assert found == {}


def test_no_template_switches_escaping_off():
    """N2, J1"""
    for path in [*ROOT.glob("templates/**/*.html"), *ROOT.glob("*/templates/**/*.html")]:
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape off|<script>|\son\w+=|\sstyle=", text), path


def test_every_setting_is_in_the_table():
    settings = (ROOT / "roocloud/settings.py").read_text()
    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings)) - {"PYTEST_DB_SUFFIX"}
    table = (ROOT / "docs/configuration.md").read_text()
    assert len(names) > 30  # and those that are built from a provider's name are in it by hand
    assert sorted(name for name in names if f"`{name}`" not in table) == []


def test_nothing_is_left_for_later():
    for path in SOURCES:
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text()), path


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return done.stdout.splitlines()


def test_no_third_party_files_and_no_secrets_are_committed():
    for name in tracked():
        assert not name.startswith(("static/vendor/", "node_modules/", "data/", "build/")), name
        assert not name.endswith((".sqlite3", ".pem", ".env")), name


def test_every_room_has_its_migrations_in_one_line():
    """L1"""
    for room in ROOMS[:-2]:
        folder = ROOT / room / "migrations"
        newest = (folder / "max_migration.txt").read_text().strip()
        assert newest == max(p.stem for p in folder.glob("0*.py")), room


async def test_a_test_that_runs_on_one_database_alone_reaches_nothing_that_differs():
    for use in (lambda: cache.get("x"), get_channel_layer):
        with pytest.raises(AssertionError, match="Mark the test as stored"):
            use()
    with pytest.raises(AssertionError, match="Mark the test as stored"):
        await limits.take([limits.Ask("x", 60, 1, 1)])
