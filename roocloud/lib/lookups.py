"""Look-ups in the DNS beyond addresses, bounded in time and size."""

import dns.exception
import dns.resolver

#: Seconds that a look-up takes at most, repetitions included.
LIFETIME_S = 4.0
_MAX_RECORDS = 100


class LookupFailed(Exception):
    """The DNS did not answer, which says nothing about the name."""


def txt_records(name: str) -> list[str]:
    """The TXT records of a name; empty if it has none or does not exist.

    Raises LookupFailed within LIFETIME_S.
    """
    try:
        resolver = dns.resolver.Resolver()
        found = resolver.resolve(name, "TXT", lifetime=LIFETIME_S, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError, UnicodeError) as fault:
        raise LookupFailed(str(fault)) from fault
    records = [b"".join(record.strings) for record in found][:_MAX_RECORDS]
    return [record.decode("utf-8", "replace") for record in records]
