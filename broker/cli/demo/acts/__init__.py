"""The acts of the demo, each a function that takes the stage and what earlier acts found out."""
