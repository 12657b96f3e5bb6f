"""Statistics of networks that nobody trained."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from slipstick.precision.statistics import LayerStatistics, Spread, Statistics


def layer(name: str = "layer", **changed: Any) -> LayerStatistics:
    """A convolution from 2 to 3 channels on 4 x 4 pixels."""
    return replace(
        LayerStatistics(
            name,
            weight_shape=(3, 2, 3, 3),
            input_shape=(2, 4, 4),
            output_shape=(3, 4, 4),
            macs=3 * 2 * 9 * 16,
            fan_in=18,
            weight_gain=1.0,
            activation_gain=1.0,
            weight_maximum=0.9,
            activation_maximum=1.9,
            activation_has_signs=False,
            weight_gradient=Spread(2.0**-10, 2.0**-7),
            activation_gradient=Spread(2.0**-14, 2.0**-12),
            jacobian=16.0,
        ),
        **changed,
    )


def linear(name: str, inputs: int, outputs: int, **changed: Any) -> LayerStatistics:
    shapes = {"weight_shape": (outputs, inputs), "input_shape": (inputs,), "output_shape": (outputs,)}
    return layer(name, **shapes, macs=inputs * outputs, fan_in=inputs, **changed)


def network(*layers: LayerStatistics, smallest_lr: float = 0.001) -> Statistics:
    return Statistics("net", layers or (layer(),), samples=10, steps=100, smallest_lr=smallest_lr)


def _spreads() -> st.SearchStrategy[Spread]:
    sigmas = st.tuples(st.floats(1e-3, 1e-1), st.floats(1, 30))
    return sigmas.map(lambda pair: Spread(pair[0], pair[0] * pair[1]))


@st.composite
def networks(draw: st.DrawFn) -> Statistics:
    """Of one to four layers, within what 24 bits can do."""
    layers = []
    for i in range(draw(st.integers(1, 4))):
        shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
        layers.append(
            linear(
                f"layer{i}",
                *shape,
                weight_gain=draw(st.floats(1e-2, 1e3)),
                activation_gain=draw(st.floats(1e-4, 10)),
                weight_maximum=draw(st.floats(0.1, 4)),
                activation_maximum=draw(st.floats(0.5, 20)),
                activation_has_signs=draw(st.booleans()),
                weight_gradient=draw(_spreads()),
                activation_gradient=draw(_spreads()),
                jacobian=draw(st.floats(0.1, 100)),
            )
        )
    return network(*layers)


def changed(statistics: Statistics, index: int, **fields: Any) -> Statistics:
    """With other numbers in one layer."""
    layers = list(statistics.layers)
    layers[index] = replace(layers[index], **fields)
    return replace(statistics, layers=tuple(layers))
