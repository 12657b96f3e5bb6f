"""The 1797 handwritten digits that scikit-learn carries: 8x8 grey images, ten classes."""

import numpy as np
import torch

from slipstick.train.images import Images

_TEST_EVERY = 4


def load_digits() -> tuple[Images, Images, int]:
    """Training images, test images (every fourth of each class), number of classes."""
    from sklearn.datasets import load_digits as bundled

    source = bundled()
    pixels = torch.from_numpy(source.images.astype(np.uint8)[:, None])  # levels 0 to 16
    labels = torch.from_numpy(source.target.astype(np.int64))
    rank = torch.empty_like(labels)  # of an image among those of its class
    for digit in range(10):
        members = labels == digit
        rank[members] = torch.arange(int(members.sum()))
    held_out = rank % _TEST_EVERY == _TEST_EVERY - 1
    return Images(pixels[~held_out], labels[~held_out]), Images(pixels[held_out], labels[held_out]), 10
