"""The API for the portals that towns already have, below `/v1/citizens`."""
