"""The database: tables, queries and state transitions."""
