"""The 1797 handwritten digits that scikit-learn carries: 8x8 grey images, ten classes."""

import numpy as np
import torch

from slipstick.train.images import Images

_TEST_SHARE = 4  # one in


def load_digits() -> tuple[Images, Images, int]:
    """Training images, test images (the last quarter of each class: mostly other writers'), number of classes."""
    from sklearn.datasets import load_digits as bundled

    source = bundled()
    pixels = torch.from_numpy(source.images.astype(np.uint8)[:, None])  # levels 0 to 16
    labels = torch.from_numpy(source.target.astype(np.int64))
    held_out = torch.zeros_like(labels, dtype=torch.bool)
    for digit in range(10):
        members = torch.nonzero(labels == digit).flatten()
        held_out[members[-(len(members) // _TEST_SHARE) :]] = True
    return Images(pixels[~held_out], labels[~held_out]), Images(pixels[held_out], labels[held_out]), 10
