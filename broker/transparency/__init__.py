"""Transparency: what lets strangers hold our ledger to its word: files, audits, cosignatures, and who watches."""
