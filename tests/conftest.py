"""People with fixed parts: alice owns acme, adam administers it, bob is a member, rhea may only
read; mallory owns another organization."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from channels.layers import ChannelLayerManager
from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper as Postgresql
from django.db.backends.sqlite3.base import DatabaseWrapper as Sqlite
from django.db.backends.sqlite3.creation import DatabaseCreation as SqliteCreation

from accounts import tokens
from accounts.models import User
from orgs.models import Organization
from proxy import catalogue
from proxy.routing import breaker
from roocloud.lib import limits
from roocloud.lib.append_only import statements
from roocloud.lib.fresh import forget_everything
from tasks_sharing import detection
from tests import cache_keys, factories, migrated
from tests.live import serving

#: Folders whose files take longest.
LONG = {"e2e", "contract", "browser"}
#: Of the windows of browsers, as the ids of tests name them.
SIZES = {"phone", "desk"}
#: Fixtures of whatever differs between the databases: one of them, or processes that run on it.
STORES = {"_django_db_helper", "launch"}
ELSEWHERE = pytest.StashKey[int]()
APPEND_ONLY = {"audit_entry", "audit_link", "audit_check", "credits_entry"}
#: Tables of what migrations made of the models: all tests have the same.
OF_MIGRATIONS = {"django_content_type", "auth_permission"}


def pytest_addoption(parser):
    parser.addoption("--size", choices=SIZES, help="of browsers; without it, tests have every size")
    parser.addoption(
        "--stored", action="store_true", help="only tests that can differ by database or by Redis"
    )


def is_stored(item) -> bool:
    """Whether a test can differ by database or by Redis. What can not proves nothing new on a second
    one."""
    marked = any(item.get_closest_marker(name) for name in ("django_db", "stored", "postgresql"))
    return marked or not STORES.isdisjoint(item.fixturenames)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Begin with what takes longest, so that all workers end at about the same time. Production runs
    on PostgreSQL and Redis alone, so elsewhere its tests do not exist."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)
    size = config.getoption("size")

    def is_absent(item):
        sizes = SIZES.intersection(item.callspec.id.split("-") if hasattr(item, "callspec") else ())
        return (size and sizes and size not in sizes) or (
            connection.vendor != "postgresql" and item.get_closest_marker("postgresql")
        )

    absent = [item for item in items if is_absent(item)]
    items[:] = [item for item in items if item not in set(absent)]
    if config.getoption("stored"):
        elsewhere = [item for item in items if not is_stored(item)]
        items[:] = [item for item in items if is_stored(item)]
        absent += elsewhere
        if hasattr(config, "workeroutput"):
            config.workeroutput["elsewhere"] = len(elsewhere)
    config.hook.pytest_deselected(items=absent)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Every worker has counted the same tests."""
    node.config.stash[ELSEWHERE] = getattr(node, "workeroutput", {}).get("elsewhere", 0)


def pytest_terminal_summary(terminalreporter, config):
    if elsewhere := config.stash.get(ELSEWHERE, 0):
        terminalreporter.write_line(
            f"{elsewhere} tests use no database and no Redis: not run again"
        )


def pytest_collection_finish():
    """Thousands of tests outlive every collection: do not look through them each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def _fresh_caches():
    """Nothing one test cached answers the next."""
    forget_everything()
    catalogue.forget()
    breaker.clear()
    limits.local.clear()
    tokens.keys.forget()
    cache_keys.begin_anew()


@pytest.fixture(autouse=True)
def _stores_are_named(request):
    """A test that would run on one database alone cannot reach what differs on another; Django's
    plugin guards the database itself."""
    if is_stored(request.node):
        yield
        return

    def refuse(*_, **__):
        raise AssertionError(
            "Mark the test as stored: it uses the cache, limits or a channel layer"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseCache, "make_and_validate_key", refuse)
        patch.setattr(ChannelLayerManager, "__getitem__", refuse)
        patch.setattr(limits, "_shared", refuse)
        yield
    asked = STORES.intersection(request.fixturenames)
    assert not asked, "Mark the test as stored: it asks for a database by name"


@pytest.fixture(autouse=True, scope="session")
def _flushable_ledgers():
    """Tests that commit are cleaned up by DELETE on SQLite, which append-only tables refuse; their
    guards are lifted for the flush alone and put back with it."""
    original = Sqlite.ops_class.sql_flush

    def sql_flush(self, style, tables, **options):
        tables = [table for table in tables if table not in OF_MIGRATIONS]
        guarded = [table for table in tables if table in APPEND_ONLY]
        lift = [f"DROP TRIGGER {table}_no_delete" for table in guarded]
        restore = [statements("sqlite", table)[1] for table in guarded]
        return [*lift, *original(self, style, tables, **options), *restore]

    Sqlite.ops_class.sql_flush = sql_flush
    yield
    Sqlite.ops_class.sql_flush = original


@pytest.fixture(autouse=True, scope="session")
def _quickly_emptied():
    """On PostgreSQL tests that commit are cleaned up by DELETE with every trigger off: TRUNCATE of
    all tables takes a hundred times as long as these tests leave rows."""
    original = Postgresql.ops_class.sql_flush

    def sql_flush(self, style, tables, **options):
        with self.connection.cursor() as cursor:
            cursor.execute("SHOW is_superuser")
            if cursor.fetchone() != ("on",):  # who may not switch triggers off
                return original(self, style, tables, **options)
        deletions = [
            f"DELETE FROM {self.quote_name(table)}"  # noqa: S608 - Django's own names
            for table in tables
            if table not in OF_MIGRATIONS
        ]
        return ["SET LOCAL session_replication_role = replica", *deletions]

    Postgresql.ops_class.sql_flush = sql_flush
    yield
    Postgresql.ops_class.sql_flush = original


@pytest.fixture(autouse=True, scope="session")
def _without_signals_of_migrations():
    """A test that commits leaves what migrations made, so it need not be made again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> str:
    """A database with its tables: a file on SQLite, a name on PostgreSQL."""
    own = tmp_path_factory.getbasetemp()
    return migrated.template(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings, template) -> Iterator[None]:
    """The database of this worker is a copy, with nothing left to migrate."""
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "postgresql":
            connection.settings_dict["TEST"]["TEMPLATE"] = template
        else:
            original = SqliteCreation._create_test_db

            def copied(self, *arguments, **options):
                name = original(self, *arguments, **options)
                for left in ("-wal", "-shm"):  # by a run that was killed
                    Path(f"{name}{left}").unlink(missing_ok=True)
                shutil.copy(template, name)
                return name

            patch.setattr(SqliteCreation, "_create_test_db", copied)
        yield


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        migrated.forget()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """At the end, cut what threads of live servers still hold, so that the database can be dropped."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session")
def secret_rules() -> Path:
    """The folder of the compiled rules, which this process has loaded: what is shared is scanned at
    once."""
    detection.prepare()
    return settings.ROOCLOUD_DATA_DIR / detection.COMPILED


@pytest.fixture
def alice(db) -> User:
    return factories.user("alice@acme.example", first_name="Alice", last_name="Archer")


@pytest.fixture
def adam(db) -> User:
    return factories.user("adam@acme.example", first_name="Adam")


@pytest.fixture
def bob(db) -> User:
    return factories.user("bob@acme.example", first_name="Bob")


@pytest.fixture
def rhea(db) -> User:
    return factories.user("rhea@acme.example", first_name="Rhea")


@pytest.fixture
def mallory(db) -> User:
    return factories.user("mallory@evil.example", first_name="Mallory")


@pytest.fixture
def acme(alice, adam, bob, rhea) -> Organization:
    return factories.organization("Acme", owner=alice, admin=adam, member=bob, readonly=rhea)


@pytest.fixture
def evil(mallory) -> Organization:
    return factories.organization("Evil Corp", owner=mallory)


@pytest.fixture
def live_url(transactional_db, settings) -> Iterator[str]:
    """The whole application behind a real server, on the test database."""
    from roocloud.asgi import application

    with serving(application) as url:
        settings.ROOCLOUD_PUBLIC_URL = url
        settings.CSRF_TRUSTED_ORIGINS = [url]
        yield url
