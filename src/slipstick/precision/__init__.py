"""Precision assignment: the bits of every tensor of a network's training, from closed-form criteria."""
