"""What every part of the service may use: settings, errors, logs, limits."""
