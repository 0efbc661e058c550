"""A town that hears of moves: copy it, and put your own system where `system.py` is."""
