"""The machine: intake, router, gate, mailbox and ledger."""
