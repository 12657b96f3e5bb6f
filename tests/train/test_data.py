from pathlib import Path

import numpy as np
import pytest
import torch

from slipstick.errors import SpecificationError
from slipstick.train import load_data
from slipstick.train.config import Augment, Experiment
from slipstick.train.hub import load_hub
from slipstick.train.image_data import ImageData, Normalisation, random_crop
from slipstick.train.images import Images


def small_data(augment: Augment, count: int = 10, size: int = 6, batch: int = 4) -> ImageData:
    pixels = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    images = Images(pixels, torch.arange(count))
    return ImageData(images, images, count, augment, Normalisation.of(pixels), batch)


def epoch(data: ImageData, seed: int = 3, number: int = 0, start: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(data.training_batches(seed, number, start))


def same(a: list[tuple[torch.Tensor, torch.Tensor]], b: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) for left, right in zip(a, b, strict=True) for x, y in zip(left, right, strict=True)
    )


def test_batches_depend_on_seed_and_epoch_only() -> None:
    data = small_data(Augment(flip=True, pad=2))
    first = epoch(data)
    torch.manual_seed(99)
    assert same(first, epoch(data))
    assert not same(first, epoch(data, seed=4))
    assert not same(first, epoch(data, number=1))


def test_a_resumed_epoch_sees_the_batches_that_were_left() -> None:
    data = small_data(Augment(flip=True, pad=2, crop=5))
    assert same(epoch(data)[1:], epoch(data, start=1))


def test_an_epoch_has_full_batches_of_different_images() -> None:
    labels = torch.cat([labels for _, labels in epoch(small_data(Augment()))])
    assert len(labels) == 8
    assert len(labels.unique()) == 8


def test_random_crop_cuts_windows_out_of_the_padded_image() -> None:
    pixels = torch.arange(1, 33, dtype=torch.uint8).reshape(2, 1, 4, 4)
    corners = torch.tensor([[0, 0], [2, 1]])
    cropped = random_crop(pixels, 1, (4, 4), corners)
    assert cropped[0, 0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11]]
    assert cropped[1, 0].tolist() == [[21, 22, 23, 24], [25, 26, 27, 28], [29, 30, 31, 32], [0, 0, 0, 0]]


def test_flips_mirror_whole_images_about_half_of_the_time() -> None:
    data = small_data(Augment(flip=True), count=400, batch=400)
    images, labels = epoch(data)[0]
    plain = data.normalisation(data.train.pixels[labels])
    mirrored = (images == plain.flip(-1)).flatten(1).all(1)
    assert torch.equal(images[~mirrored], plain[~mirrored])
    assert 150 < int(mirrored.sum()) < 250


def test_normalised_training_images_have_mean_0_and_deviation_1() -> None:
    data = small_data(Augment(), count=50)
    normal = data.normalisation(data.train.pixels).double()
    assert torch.allclose(normal.mean(dim=(0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(normal.var(dim=(0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), atol=1e-6)


def test_a_channel_of_one_level_is_normalised_to_zero() -> None:
    pixels = torch.full((4, 1, 3, 3), 7, dtype=torch.uint8)
    assert torch.equal(Normalisation.of(pixels)(pixels), torch.zeros(4, 1, 3, 3))


def test_test_images_are_all_there_in_order_and_cropped_at_the_centre() -> None:
    data = small_data(Augment(crop=4, pad=1))
    batches = list(data.test_batches(4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(images, data.normalisation(data.test.pixels[:, :, 1:5, 1:5]))


def test_digits_are_split_by_class_into_disjoint_parts() -> None:
    data = load_data(Experiment(name="a"))
    assert (data.classes, data.channels, data.size) == (10, 1, (8, 8))
    assert (len(data.train), len(data.test)) == (1352, 445)
    assert data.test.labels.bincount().min() >= 43


def test_a_subset_is_the_same_for_every_seed_and_part_of_a_larger_one() -> None:
    small = load_data(Experiment(name="a", seed=1, subset={"train": 100, "test": 50}))
    large = load_data(Experiment(name="a", seed=2, subset={"train": 200}))
    assert (len(small.train), len(small.test), len(large.test)) == (100, 50, 445)
    assert torch.equal(small.train.pixels, large.train.pixels[:100])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"subset": {"test": 446}}, "subset.test = 446: the data has 445 images"),
        ({"batch": 2000}, "batch = 2000: larger than the 1352 training images"),
        ({"augment": {"crop": 9}}, "augment.crop = 9: larger than the images (8 pixels)"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        load_data(Experiment(name="a", **fields))
    assert message in str(error.value)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "cache" / "slipstick" / "images"


def save_dataset(folder: Path, columns: dict[str, object], splits: tuple[str, ...] = ("train", "test")) -> str:
    import datasets
    from PIL import Image

    images = [Image.fromarray(np.full((5, 4, 3), (i, 2 * i, 3 * i), dtype=np.uint8)) for i in range(6)]
    for split in splits:
        dataset = datasets.Dataset.from_dict({"img": images, **columns}).cast_column("img", datasets.Image())
        (folder / "data").mkdir(parents=True, exist_ok=True)
        dataset.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return str(folder)


def test_a_local_folder_is_read_with_the_fine_label_and_cached(tmp_path: Path, caches: Path) -> None:
    columns = {"fine_label": [0, 1, 2, 0, 1, 2], "coarse_label": [0, 0, 0, 1, 1, 1]}
    name = save_dataset(tmp_path / "set", columns, splits=("train", "validation"))
    train, test, classes = load_hub(name)
    assert train.pixels.shape == (6, 3, 5, 4)
    assert train.pixels[2, :, 0, 0].tolist() == [2, 4, 6]
    assert (train.labels.tolist(), classes) == ([0, 1, 2, 0, 1, 2], 3)
    kept = sorted(path.name for path in caches.rglob("*.npy"))
    assert kept == ["labels.npy", "labels.npy", "pixels.npy", "pixels.npy"]
    again, _, _ = load_hub(name)
    assert torch.equal(again.pixels, train.pixels)
    assert len(test) == 6


def test_a_damaged_cache_is_made_again(tmp_path: Path, caches: Path) -> None:
    name = save_dataset(tmp_path / "set", {"label": [0, 1, 2, 0, 1, 2]})
    first, _, _ = load_hub(name)
    for path in caches.rglob("pixels.npy"):
        path.write_bytes(path.read_bytes()[:150])
    again, _, _ = load_hub(name)
    assert torch.equal(again.pixels, first.pixels)
    assert not list(caches.glob(".decoding-*"))


def test_images_are_resized_on_request(tmp_path: Path, caches: Path) -> None:
    name = save_dataset(tmp_path / "set", {"label": [0, 1, 2, 0, 1, 2]})
    assert load_hub(name, image_size=8)[0].pixels.shape == (6, 3, 8, 8)


def test_broken_or_unfit_data_is_one_line(tmp_path: Path, caches: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = Path(save_dataset(tmp_path / "broken", {"label": [0] * 6}))
    for path in broken.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    cases = {
        str(empty): "the folder is empty",
        str(tmp_path / "absent"): "no such folder",
        str(broken): "cannot be read: ",
        save_dataset(tmp_path / "unlabelled", {"kind": [0] * 6}): "no label column; looked for fine_label, label",
        save_dataset(tmp_path / "no-test", {"label": [0] * 6}, splits=("train",)): "needs a train and a test split",
        save_dataset(tmp_path / "negative", {"label": [0, -1, 0, 0, 0, 0]}): "labels -1 to 0 for 1 classes",
        save_dataset(tmp_path / "real", {"label": [0.5] * 6}): "labels are float64, not integers from 0",
    }
    for name, message in cases.items():
        with pytest.raises(SpecificationError) as error:
            load_hub(name)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
