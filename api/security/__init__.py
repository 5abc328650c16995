"""Secrets, signatures, and the check of the addresses that the service connects to."""
