"""Code that every part of the service uses: settings, errors, logs, limits."""
