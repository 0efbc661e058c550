"""Observability: what the machine says while it runs, and where it may be killed in a test."""
