"""Access: what lets an administration in: tokens, pinned keys, published key sets, and their end."""
