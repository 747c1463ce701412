"""I4: production refuses to start on unsafe settings and names each; embedded stays at home."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

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
    ({"ROOCLOUD_PUBLIC_URL": "https://localhost"}, "ROOCLOUD_PUBLIC_URL"),
    ({"ROOCLOUD_ALLOWED_HOSTS": "*"}, "ROOCLOUD_ALLOWED_HOSTS"),
    ({"DATABASE_URL": "sqlite:////tmp/x.sqlite3"}, "DATABASE_URL"),
    ({"REDIS_URL": ""}, "REDIS_URL"),
    ({"ROOCLOUD_JOBS_EAGER": "1"}, "ROOCLOUD_JOBS_EAGER"),
    ({"EMAIL_URL": "console://"}, "EMAIL_URL"),
    ({"ROOCLOUD_SIGNUP": "open"}, "ROOCLOUD_SIGNUP"),
    ({"ROOCLOUD_INTERNAL_NETWORKS": "0.0.0.0/0"}, "ROOCLOUD_INTERNAL_NETWORKS"),
]


def check(tmp_path, **env) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ROOCLOUD_DATA_DIR": str(tmp_path), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_safe_settings_pass(tmp_path):
    assert check(tmp_path, **GOOD).returncode == 0


@pytest.mark.parametrize(("change", "named"), UNSAFE)
def test_each_unsafe_setting_is_refused_by_name(tmp_path, change, named):
    """I4"""
    done = check(tmp_path, **{**GOOD, **change})
    assert done.returncode != 0
    assert named in done.stderr


def test_all_are_named_at_once(tmp_path):
    done = check(tmp_path, ROOCLOUD_MODE="production", ROOCLOUD_PUBLIC_URL="http://localhost")
    names = {named for _, named in UNSAFE} - {
        "ROOCLOUD_DEBUG", "ROOCLOUD_ALLOWED_HOSTS", "ROOCLOUD_JOBS_EAGER", "ROOCLOUD_SIGNUP", "ROOCLOUD_INTERNAL_NETWORKS",
    }  # fmt: skip
    assert [name for name in names if name not in done.stderr] == []


def test_the_server_itself_refuses_too(tmp_path):
    """I4: an ASGI server started without a management command."""
    done = subprocess.run(
        [sys.executable, "-c", "import roocloud.asgi"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "ROOCLOUD_DATA_DIR": str(tmp_path),
            "ROOCLOUD_MODE": "production",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "ROOCLOUD_SECRET_KEY" in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path):
    check(tmp_path)
    path = tmp_path / "secrets.json"
    made = json.loads(path.read_text())
    check(tmp_path)
    assert json.loads(path.read_text()) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_may_come_from_a_file(tmp_path):
    key = tmp_path / "key"
    key.write_text(GOOD["ROOCLOUD_SECRET_KEY"])
    env = {k: v for k, v in GOOD.items() if k != "ROOCLOUD_SECRET_KEY"}
    assert check(tmp_path, **env, ROOCLOUD_SECRET_KEY_FILE=str(key)).returncode == 0


def test_the_embedded_deployment_listens_at_home():
    from django.conf import settings

    assert settings.HOST == "127.0.0.1"
