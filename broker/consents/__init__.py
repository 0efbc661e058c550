"""Consents: what a citizen says of who may have what, from the first word to the last."""
