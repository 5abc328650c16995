"""Secrets, signatures, and the addresses that the service connects to."""
