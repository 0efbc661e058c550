"""Public: the addresses that ask for no token."""
