"""The deployment's settings, with what makes tests quick and keeps them out of real data."""

import os
from pathlib import Path

_scratch = Path(__file__).resolve().parent.parent / "build" / "test-data"
os.environ.setdefault("ROOCLOUD_DATA_DIR", str(_scratch))
os.environ.setdefault("ROOCLOUD_JOBS_EAGER", "1")
os.environ.setdefault("ROOCLOUD_SIGNUP", "open")
_scratch.mkdir(parents=True, exist_ok=True)

from roocloud.settings import *  # noqa: E402, F403, TID251

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
WHITENOISE_AUTOREFRESH = True  # instead of a look through all static files for each test's client
CACHES["default"]["KEY_FUNCTION"] = "tests.cache_keys.key"  # noqa: F405

# No test cuts the power, so none waits for the disk.
_database = DATABASES["default"]  # noqa: F405
if "init_command" in _database["OPTIONS"]:
    _database["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
else:
    _database["OPTIONS"]["options"] = "-c synchronous_commit=off"
