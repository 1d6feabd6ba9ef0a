"""The first proof: the normal form of finite sums decides an identity for every size."""
