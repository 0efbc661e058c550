"""People: the one place that knows what a reference stands for."""
