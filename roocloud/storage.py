"""What waits in the queue of jobs, and how large the database is."""

from pathlib import Path

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import BigIntegerField, Func, Value
from kombu.exceptions import ChannelError, OperationalError

from roocloud.celery import app


class _DatabaseSize(Func):
    function = "pg_database_size"
    output_field = BigIntegerField()


def database_bytes() -> int:
    """On the disk, with what is not yet merged into the file."""
    if connection.vendor == "postgresql":
        size = _DatabaseSize(Value(connection.settings_dict["NAME"]))
        # Asked of a table that is never empty: no statement of ours is without one.
        return int(ContentType.objects.values_list(size, flat=True)[:1][0])
    file = Path(connection.settings_dict["NAME"])
    parts = (file, file.with_name(f"{file.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def jobs_waiting() -> int | None:
    """How many jobs no worker has taken yet; None while the queue does not answer."""
    queue = app.conf.task_default_queue
    options = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "socket_connect_timeout": 1}
    try:
        with app.connection_for_read(transport_options=options) as broker:
            declared = broker.default_channel.queue_declare(queue=queue, passive=True)
    except ChannelError:
        return 0  # nothing was ever queued
    except (OperationalError, OSError):
        return None
    return int(declared.message_count)
