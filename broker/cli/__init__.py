"""The command line: thin, it calls what the machine offers."""
