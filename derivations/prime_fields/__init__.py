"""The second proof: an identity is tested at random points over prime fields."""
