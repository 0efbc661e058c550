"""What fsck checks: one module for each part of the state, each a set of functions that yield findings."""
