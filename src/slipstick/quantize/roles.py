"""Roles: the points of training where a tensor is rounded. Everything between them is computed in float32.

weight               W, as a layer uses it in its product, forward and backward
activation           A, a layer's input
activation_gradient  G(A), the gradient with respect to a layer's output, as it enters the layer's backward pass
weight_gradient      G(W), the gradient with respect to a weight, before it is added to ``.grad``
update               Q_U, a weight as it is stored, after each step of the optimiser
"""

from typing import Literal, get_args

Role = Literal["weight", "activation", "activation_gradient", "weight_gradient", "update"]

ROLES: tuple[Role, ...] = get_args(Role)
WEIGHT_ROLES: tuple[Role, ...] = ("weight", "weight_gradient", "update")
"""The roles that belong to each weight of a layer, so that a scale per channel is known when they are attached."""

FULL_PRECISION = "full_precision"
"""Instead of a format: leave the tensor as it is."""
