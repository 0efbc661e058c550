"""The broker over HTTP: thin edges that call what the command line calls."""
