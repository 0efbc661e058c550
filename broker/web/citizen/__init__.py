"""The pages for citizens, rendered here; they work without JavaScript."""
