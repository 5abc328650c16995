"""Removes and replaces backgrounds."""
