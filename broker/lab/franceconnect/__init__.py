"""A provider of our own that behaves as FranceConnect and FranceConnect+ do, for demo and tests. Not for use."""
