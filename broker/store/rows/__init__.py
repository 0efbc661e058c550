"""Rows that grant power: signed by whoever acts, believed by nobody without."""
