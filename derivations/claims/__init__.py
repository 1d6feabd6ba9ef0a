"""Claims, how they are settled, and the derivation step by step."""
