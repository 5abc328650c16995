"""Pictures: fetched, decoded in separate processes, encoded, stored."""
