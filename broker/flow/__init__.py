"""Flow: the way of a declaration, from the envelope that arrives to the delivery that is acknowledged."""
