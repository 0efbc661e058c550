"""Webhooks: where administrations are told that deliveries wait, and by mail that they can no longer be told."""
