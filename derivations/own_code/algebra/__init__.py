"""The algebra of the first proof: polynomials in elements and sums, with a normal form."""
