"""Builds, saves and compares identities of people."""
