"""Topics: which administrations Kafka serves, what must be there for them, and what goes in and out that way."""
