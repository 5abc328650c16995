"""Pictures: fetched, decoded apart from the service, encoded, stored."""
