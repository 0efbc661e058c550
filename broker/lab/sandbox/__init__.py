"""The sandbox: a whole broker in one process for an administration to try itself against, with nobody real in it."""
