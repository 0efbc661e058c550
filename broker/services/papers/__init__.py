"""Papers: what a citizen is given as a document: an acknowledgement, and everything that is held about them."""
