"""How a user's code is called, what it reaches, which names are seen through, and which way it took."""
