"""Maintenance: what has to happen because time passes or machines fail: fsck, upkeep, pruning, completing."""
