"""Real cases of how one person is written, read by tests and shown in docs/identity.md."""
