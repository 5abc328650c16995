"""Implements IP-Adapter: its checkpoint, its projection, and its attention in a UNet."""
