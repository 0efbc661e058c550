"""The log that carries: one port, its adapters."""
