"""A graph run exactly, on field elements, at given sizes."""
