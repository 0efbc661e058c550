"""Ledger: every fact that can be proven: its entries, what opens them, their order, and what they come after."""
