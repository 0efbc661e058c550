"""The kit: what every connector is put through, ours and anybody's. `pytest --connector=NAME` runs it."""
