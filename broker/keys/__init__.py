"""Where private keys live, apart from the database."""
