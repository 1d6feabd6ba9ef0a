"""The third world of the formulas: what they compute in floating point, beside what they mean."""
