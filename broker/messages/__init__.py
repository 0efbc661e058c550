"""Messages: citizens hear that there is news about what they declared, and where to look; never what it says."""
