"""A small SD1.5-shaped model of people who do not exist: its data, training, and files (demo_model/README.md)."""
