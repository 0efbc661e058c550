"""Setup: a home is made, opened, checked, brought to another version; and who gets which part."""
