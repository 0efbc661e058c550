"""Citizens: people who come themselves: how they sign in, their sessions, what they have begun and not ended."""
