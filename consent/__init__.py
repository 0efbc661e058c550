"""The decision: who may receive what, and why."""
