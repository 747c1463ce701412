"""I4: production refuses to start on unsafe settings and names each; embedded stays at home."""

import json
import os
import runpy
import socket
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from roocloud import checks
from roocloud.checks import unsafe_settings
from roocloud.lib.crypto import new_key

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "ROOCLOUD_MODE": "production",
    "ROOCLOUD_PUBLIC_URL": "https://cloud.example.com",
    "ROOCLOUD_SECRET_KEY": "q8Zk2v0bX5nR7tYw3uLsP6aFdGhJcVmN1eKiOzTx4yBrQpWs9D",
    "ROOCLOUD_FIELD_KEYS": new_key("k1"),
    "DATABASE_URL": "postgres://u@db.example.com/roocloud",
    "REDIS_URL": "redis://cache.example.com",
    "EMAIL_URL": "smtp://mail.example.com",
}
UNSAFE = [
    ({"ROOCLOUD_SECRET_KEY": "short"}, "ROOCLOUD_SECRET_KEY"),
    ({"ROOCLOUD_SECRET_KEY": "a" * 60}, "ROOCLOUD_SECRET_KEY"),
    ({"ROOCLOUD_FIELD_KEYS": ""}, "ROOCLOUD_FIELD_KEYS"),
    ({"ROOCLOUD_DEBUG": "1"}, "ROOCLOUD_DEBUG"),
    ({"ROOCLOUD_PUBLIC_URL": "http://cloud.example.com"}, "ROOCLOUD_PUBLIC_URL"),
    *(
        ({"ROOCLOUD_PUBLIC_URL": f"https://{host}"}, "ROOCLOUD_PUBLIC_URL")
        for host in ("localhost", "127.1")
    ),
    ({"ROOCLOUD_ALLOWED_HOSTS": "*"}, "ROOCLOUD_ALLOWED_HOSTS"),
    ({"DATABASE_URL": "sqlite:////tmp/x.sqlite3"}, "DATABASE_URL"),
    ({"REDIS_URL": ""}, "REDIS_URL"),
    ({"ROOCLOUD_JOBS_EAGER": "1"}, "ROOCLOUD_JOBS_EAGER"),
    ({"EMAIL_URL": "console://"}, "EMAIL_URL"),
    ({"ROOCLOUD_SIGNUP": "open"}, "ROOCLOUD_SIGNUP"),
    ({"ROOCLOUD_INTERNAL_NETWORKS": "0.0.0.0/0"}, "ROOCLOUD_INTERNAL_NETWORKS"),
    ({"ROOCLOUD_INTERNAL_NETWORKS": "10.0.0.1/8"}, "ROOCLOUD_INTERNAL_NETWORKS"),
]


def run(tmp_path, *command, **env) -> subprocess.CompletedProcess[str]:
    """A command that ends, in an environment of its own."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ROOCLOUD_DATA_DIR": str(tmp_path), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check(tmp_path, **env) -> subprocess.CompletedProcess[str]:
    return run(tmp_path, "manage.py", "check", **env)


@pytest.fixture
def complaints(monkeypatch, tmp_path):
    """``complaints(**env)``: what the checks say of the settings that an environment makes."""

    def of(**env: str) -> list[str]:
        with monkeypatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in {"ROOCLOUD_DATA_DIR": str(tmp_path), **env}.items():
                patch.setenv(name, value)
            made = runpy.run_path(str(ROOT / "roocloud" / "settings.py"))
            patch.setattr(checks, "settings", SimpleNamespace(**made))
            return [m.msg for m in checks.unsafe_settings(None) + checks.unreadable_settings(None)]

    return of


def test_safe_settings_pass(tmp_path, complaints):
    assert complaints(**GOOD) == []
    assert check(tmp_path, **GOOD).returncode == 0


@pytest.mark.parametrize(("change", "named"), UNSAFE)
def test_each_unsafe_setting_is_refused_by_name(complaints, change, named):
    """I4"""
    said = complaints(**{**GOOD, **change})
    assert [text for text in said if text.startswith(named)], said


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "cloud.localhost", "localhost.localdomain", "127.0.0.1",
        "127.9.9.9", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "[::1]",  # noqa: S104 - refused
        "[0:0::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:0:0]", "",
    ],
)  # fmt: skip
def test_no_spelling_of_this_machine_is_a_public_address(settings, host):
    """I4"""
    settings.ROOCLOUD_MODE = "production"
    settings.ROOCLOUD_PUBLIC_URL = f"https://{host}/"
    assert _said_of_the_public_url() == [
        "ROOCLOUD_PUBLIC_URL must name the host that people and editors reach."
    ]


@pytest.mark.parametrize("host", ["cloud.example.com", "10.1.2.3", "[2001:db8::1]", "127.example"])
def test_other_hosts_may_be(settings, host):
    settings.ROOCLOUD_MODE = "production"
    settings.ROOCLOUD_PUBLIC_URL = f"https://{host}"
    assert _said_of_the_public_url() == []


def _said_of_the_public_url() -> list[str]:
    return [m.msg for m in unsafe_settings(None) if "ROOCLOUD_PUBLIC_URL" in m.msg]


def test_a_network_with_host_bits_is_named_when_embedded_too(complaints):
    (said,) = complaints(ROOCLOUD_INTERNAL_NETWORKS="127.0.0.0/8,10.0.0.1/8")
    assert "ROOCLOUD_INTERNAL_NETWORKS" in said
    assert "10.0.0.1/8" in said


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_workers_and_schedulers_refuse_too(tmp_path, role):
    """I4: Celery starts without a management command."""
    arguments = [role, *(["--schedule", str(tmp_path / "schedule")] if role == "beat" else [])]
    unsafe = {"ROOCLOUD_DEBUG": "1", "ROOCLOUD_SECRET_KEY": "weak"}
    done = run(tmp_path, "-m", "celery", "-A", "roocloud", *arguments, **{**GOOD, **unsafe})
    assert done.returncode == 1
    assert "ROOCLOUD_DEBUG must be off" in done.stderr
    assert "ROOCLOUD_SECRET_KEY needs" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ROOCLOUD_UPSTREAM_BASE_URL", "api.example.com/v1"),
        ("ROOCLOUD_UPSTREAM_API_KEY", "two words"),
        ("ROOCLOUD_ADMIN_EMAIL", "root"),
        ("ROOCLOUD_ADMIN_PASSWORD", "short"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_by_name(db, settings, variable, value):
    settings.ROOCLOUD_UPSTREAM_BASE_URL = "https://api.example.com/v1"
    setattr(settings, variable, value)
    with pytest.raises(CommandError, match=f"^{variable}: "):
        call_command("serve", "--port", "1")  # which nobody may listen on


def test_production_does_not_start_on_a_database_that_lacks_migrations(db, settings):
    settings.ROOCLOUD_MODE = "production"
    ((app, newest),) = MigrationLoader(connection).graph.leaf_nodes("credits")
    MigrationRecorder(connection).record_unapplied(app, newest)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # a server that did start would end at once
        with pytest.raises(CommandError, match=rf"lacks migrations: {app}\.{newest}\. Run"):
            call_command("serve", "--port", str(port))


def test_all_are_named_at_once(tmp_path):
    done = check(tmp_path, ROOCLOUD_MODE="production", ROOCLOUD_PUBLIC_URL="http://localhost")
    names = {named for _, named in UNSAFE} - {
        "ROOCLOUD_DEBUG", "ROOCLOUD_ALLOWED_HOSTS", "ROOCLOUD_JOBS_EAGER", "ROOCLOUD_SIGNUP", "ROOCLOUD_INTERNAL_NETWORKS",
    }  # fmt: skip
    assert [name for name in names if name not in done.stderr] == []


def test_the_server_itself_refuses_too(tmp_path):
    """I4: an ASGI server started without a management command."""
    done = run(tmp_path, "-c", "import roocloud.asgi", ROOCLOUD_MODE="production")
    assert "ROOCLOUD_SECRET_KEY" in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path, complaints):
    complaints()
    path = tmp_path / "secrets.json"
    made = json.loads(path.read_text())
    complaints()
    assert json.loads(path.read_text()) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_may_come_from_a_file(tmp_path, complaints):
    key = tmp_path / "key"
    key.write_text(GOOD["ROOCLOUD_SECRET_KEY"])
    env = {k: v for k, v in GOOD.items() if k != "ROOCLOUD_SECRET_KEY"}
    assert complaints(**env, ROOCLOUD_SECRET_KEY_FILE=str(key)) == []
    key.write_text("short")
    assert len(complaints(**env, ROOCLOUD_SECRET_KEY_FILE=str(key))) == 1


def test_the_embedded_deployment_listens_at_home():
    from django.conf import settings

    assert settings.HOST == "127.0.0.1"
