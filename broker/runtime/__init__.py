"""Runtime: the processes of a broker, what each turn of a role does, and how it stands."""
