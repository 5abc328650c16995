"""Background removal and replacement."""
