"""The rest connector: JSON to an HTTP API of the agency's own."""
