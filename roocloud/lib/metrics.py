"""The figures of this process that ``/metrics`` shows. Rooms add theirs; none names a person."""

from prometheus_client import CollectorRegistry

registry = CollectorRegistry()
