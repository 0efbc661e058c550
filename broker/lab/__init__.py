"""Lab: for administrations that try. Nothing of the machine imports it."""
