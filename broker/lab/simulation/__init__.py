"""Simulation: a small country lives with the real machine, and a model says at every step what was promised."""
