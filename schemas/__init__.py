"""The contract: what two strangers must agree on, byte for byte. Pure: no I/O, no clock, no settings."""
