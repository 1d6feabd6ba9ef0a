"""What a user brings: formulas and lines of code as text, what they mean, where they are defined, and the verdict."""
