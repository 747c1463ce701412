"""Where a request comes from, as much of it as is kept."""

from ipaddress import ip_address, ip_network

from django.conf import settings


def client_address(peer: str, forwarded_for: str) -> str:
    """The address of the client. peer: of the connection. forwarded_for: ``X-Forwarded-For``, whose
    last ROOCLOUD_TRUSTED_PROXIES entries are written by proxies of ours; what is before them may be
    the client's invention (B6)."""
    hops = settings.ROOCLOUD_TRUSTED_PROXIES
    entries = [entry.strip() for entry in forwarded_for.split(",") if entry.strip()]
    return entries[-min(hops, len(entries))] if hops and entries else peer


def network_of(address: str) -> str:
    """The network that an address is in, ``203.0.113.0/24`` or ``2001:db8:1::/48``: enough to
    notice a stranger, and not who it was. Empty for what is no address."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if found.version == 6 and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(ip_network((found.packed, 24 if found.version == 4 else 48), strict=False))
