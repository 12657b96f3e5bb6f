"""The precisions that Sakr & Shanbhag 2019 (arXiv 1812.11732) trained a CIFAR-10 ResNet with, and the numbers that they
come from: as listed in the authors' code, github.com/charbel-sakr/Fixed-Point-Training, gains to four digits.

22 weights in the order of the code, a block's shortcut after its two convolutions; 20 activations, the image first.
Not published: the standard deviations of gradients, the singular values, the noise gain of the image.
"""

ACTIVATION_GAINS = (
    0.5147, 0.1290, 0.1121, 0.07311, 0.08975, 0.07699, 0.08394, 0.06378, 0.1922, 0.1544, 0.1327, 0.1127, 0.08506,
    0.06566, 0.1286, 0.06509, 0.02156, 0.004800, 0.0007822,
)  # fmt: skip
"""Of all but the image."""

WEIGHT_GAINS = (
    2409.0, 980.3, 1223.0, 1624.0, 1520.0, 3050.0, 1466.0, 2148.0, 2741.0, 4961.0, 4232.0, 4202.0, 7252.0, 2988.0,
    2860.0, 2996.0, 5018.0, 4338.0, 1407.0, 1297.0, 108.0, 8.308,
)  # fmt: skip

ACTIVATION_OFFSETS = (5, 4, 4, 3, 3, 3, 3, 3, 4, 4, 4, 4, 3, 3, 4, 3, 2, 1, 0)
WEIGHT_OFFSETS = (11, 10, 10, 10, 10, 11, 10, 11, 11, 11, 11, 11, 12, 11, 11, 11, 11, 11, 10, 10, 9, 7)

MINIMUM_BITS = 3
WEIGHT_BITS = (14, 13, 13, 13, 13, 14, 13, 14, 14, 14, 14, 14, 15, 14, 14, 14, 14, 14, 13, 13, 12, 10)
ACTIVATION_BITS = (8, 8, 7, 7, 6, 6, 6, 6, 6, 7, 7, 7, 7, 6, 6, 7, 6, 5, 4, 3)
"""The image's 8 are given, not derived."""

WEIGHT_GRADIENT_BITS = (11, 12, 12, *[11] * 15, 12, 12, 14, 14)
WEIGHT_GRADIENT_RANGES = (2**-2, 2**-4, 2**-4, *[2**-5] * 11, *[2**-6] * 7, 2**-2)
ACCUMULATOR_BITS = (9, 13, 13, 13, 13, 12, 13, 12, 12, 12, 12, 12, 11, 12, 13, 13, 13, 13, 15, 15, 18, 16)
SMALLEST_LR = 0.001

INPUTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 7, 9, 10, 11, 12, 13, 14, 13, 15, 16, 17, 18, 19)
"""Which activation each layer has as its input."""
