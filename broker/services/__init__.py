"""Services: what people may do with a home, one call for each."""
