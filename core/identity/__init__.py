"""A person's identity: built from faces, saved, compared."""
