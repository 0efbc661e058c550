"""What a citizen may do: each call takes the citizen who is signed in, and what is another's is unknown."""
