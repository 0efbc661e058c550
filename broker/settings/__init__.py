"""Settings: what an operator may choose, where it is read from, what each part is told of it, and what is unwise."""
