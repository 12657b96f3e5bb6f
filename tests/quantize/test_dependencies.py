"""Imports point one way: quantisers and optimisers rest on formats (quantisers also on the arithmetic and kernels of
their products), precision on those three, training on precision, and assignment on training."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "slipstick"


@pytest.mark.parametrize(
    ("package", "more"),
    [
        ("quantize", {"arithmetic", "kernels"}),
        ("optim", set()),
        ("precision", {"quantize", "optim", "matplotlib"}),
        ("assign", {"precision", "train"}),
    ],
)
def test_a_package_imports_only_what_is_below_it(package: str, more: set[str]) -> None:
    allowed = {"errors", "text_table", "formats", package} | more
    for path in (SOURCE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                parts = name.split(".")
                assert parts[0] != "slipstick" or parts[1] in allowed, f"{path}: {name}"
                assert parts[0] in ("slipstick", "torch", *more) or parts[0] in sys.stdlib_module_names


def test_training_does_not_import_what_is_above_it() -> None:
    for path in (SOURCE / "train").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for above in ("assign", "bench", "report", "cli"):
            assert f"slipstick.{above}" not in text, path
