"""The one ACID database that decides."""
