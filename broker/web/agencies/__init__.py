"""The agencies' API: what administrations publish and receive through, below `/v1`."""
