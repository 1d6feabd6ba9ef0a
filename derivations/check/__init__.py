"""What a user brings: a formula as text, its ranges and points, and the verdict."""
