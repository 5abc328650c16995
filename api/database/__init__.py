"""The database: tables, and every query and state transition."""
