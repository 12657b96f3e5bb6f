"""Integer-exact models of the units, the other side of their proofs."""
