"""Epochs: the keys that are renewed and destroyed because time passes, and the books that say which there are."""
