"""What is claimed, one module a family."""
