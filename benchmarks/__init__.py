"""Measures the pack against alternatives; tests assert none of it."""
