"""Devices of a person that speak the acknowledged protocol: their registry, pairing and queue."""
