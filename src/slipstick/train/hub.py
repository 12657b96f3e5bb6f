"""Images and labels from the Hugging Face hub or from a local folder, decoded once."""

import hashlib
import io
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slipstick.errors import SpecificationError
from slipstick.train.images import Images, cached
from slipstick.train.progress import progress_bar

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("fine_label", "label", "labels")  # CIFAR-100 has a coarse label too
_REASON_LENGTH = 200
_TEST_SPLITS = ("test", "valid", "validation")


def load_hub(name: str, image_size: int | None = None) -> tuple[Images, Images, int]:
    """Training images, test images, number of classes of a dataset name or folder.

    Raises SpecificationError where it is missing, broken, or no image classification.
    """
    splits = _load_splits(name)
    test_name = next((split for split in _TEST_SPLITS if split in splits), None)
    if "train" not in splits or test_name is None:
        raise SpecificationError(f"data {name!r}: needs a train and a test split, has {', '.join(splits) or 'none'}")
    train, test = splits["train"], splits[test_name]
    image = _column(name, train.column_names, _IMAGE_COLUMNS, "image")
    label = _column(name, train.column_names, _LABEL_COLUMNS, "label")
    for split in (train, test):
        if len(split) == 0:
            raise SpecificationError(f"data {name!r}: a split has no images")
    decoded = [_cached_split(name, split, image, label, image_size) for split in (train, test)]
    names = getattr(train.features[label], "names", None)
    classes = len(names) if names else int(decoded[0].labels.max()) + 1
    for images in decoded:
        low, high = int(images.labels.min()), int(images.labels.max())
        if low < 0 or high >= classes:
            raise SpecificationError(f"data {name!r}: labels {low} to {high} for {classes} classes")
    return decoded[0], decoded[1], classes


def _load_splits(name: str) -> Any:
    import datasets

    folder = Path(name)
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        raise SpecificationError(f"data {name!r}: the folder is empty")
    if not folder.exists() and (folder.is_absolute() or name.startswith(".")):
        raise SpecificationError(f"data {name!r}: no such folder")
    with _quiet_library():
        try:
            return datasets.load_dataset(name)
        except Exception as error:  # the library raises whatever its readers, parsers and network clients raise
            reason = _reason(error)
            hint = "" if folder.exists() else "; give a local folder, a name on the Hugging Face hub, or 'digits'"
            raise SpecificationError(f"data {name!r}: cannot be read: {reason}{hint}") from None


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Silence the library's own log of an error that is reported here, and its bars where there is no terminal."""
    from datasets.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:  # the first cause says what is wrong, the rest where it was noticed
        error = error.__cause__
    text = " ".join(str(error).split())
    return textwrap.shorten(text, _REASON_LENGTH) if text else type(error).__name__


def _column(name: str, present: list[str], wanted: tuple[str, ...], what: str) -> str:
    for column in wanted:
        if column in present:
            return column
    raise SpecificationError(
        f"data {name!r}: no {what} column; looked for {', '.join(wanted)}, found {', '.join(present)}"
    )


def _cached_split(name: str, split: Any, image: str, label: str, image_size: int | None) -> Images:
    # datasets has no public name for the fingerprint of a split's content and history
    identity = f"{split._fingerprint} {image} {label} {image_size}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:24]
    return cached(key, lambda: _decode_split(name, split, image, label, image_size))


def _decode_split(name: str, split: Any, image: str, label: str, image_size: int | None) -> Images:
    import datasets

    raw = split.cast_column(image, datasets.Image(decode=False))
    pixels: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    with progress_bar(f"decoding {name}", total=len(raw)) as advance:
        for i, row in enumerate(raw):
            decoded = _decode_image(name, i, row[image], image_size)
            if pixels is None:
                pixels = np.empty((len(raw), *decoded.shape), dtype=np.uint8)
            if decoded.shape != pixels.shape[1:]:
                sizes = f"{pixels.shape[2]}x{pixels.shape[1]} and {decoded.shape[1]}x{decoded.shape[0]}"
                raise SpecificationError(f"data {name!r}: images of {sizes} pixels; set image_size to resize them")
            pixels[i] = decoded
            advance(1)
    assert pixels is not None, "splits with no images are refused before"
    if bool((pixels == pixels[..., :1]).all()):
        pixels = pixels[..., :1]  # grey
    channels_first = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return Images(channels_first, _labels(name, split[label]))


def _decode_image(name: str, index: int, source: Any, image_size: int | None) -> Any:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source["bytes"]) if source.get("bytes") else source["path"]) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, TypeError, AttributeError, ValueError) as error:
        raise SpecificationError(f"data {name!r}: image {index} cannot be decoded: {error}") from None
    if image_size is not None:
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _labels(name: str, column: Any) -> torch.Tensor:
    labels = np.asarray(column)
    if labels.dtype.kind not in "iu":
        raise SpecificationError(f"data {name!r}: labels are {labels.dtype}, not integers from 0")
    return torch.from_numpy(labels.astype(np.int64))
