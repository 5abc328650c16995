"""Trains a small SD1.5-shaped model of people who do not exist (demo_model/README.md)."""
