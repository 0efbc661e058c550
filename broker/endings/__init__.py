"""Where the journal of endings lives: in a file beside the keys, in a second database, or in memory for tests."""
