"""The directory: who is who, with which keys and rights, who hears what, and how that is changed and published."""
