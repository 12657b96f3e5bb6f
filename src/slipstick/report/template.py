"""Pages from templates: self-contained, no script, no font, no picture from anywhere else."""

import base64
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from slipstick.errors import SpecificationError
from slipstick.report.svg import Plot
from slipstick.train.atomic_files import write_text


def render(package: str, template: str, **values: Any) -> str:
    """``template``: a file of ``package``. Values are escaped; ``css`` is the look that all pages share."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    css = Markup(_read("slipstick.report", "page.css"))
    return environment.from_string(_read(package, template)).render(css=css, **values)


def pictures(plots: list[Plot]) -> list[dict[str, str]]:
    """Plots as a template embeds them: title, text, data."""
    return [
        {"title": plot.title, "text": plot.description, "data": base64.b64encode(plot.svg.encode()).decode()}
        for plot in plots
    ]


def write_output(path: Path, text: str) -> Path:
    """Returns the absolute path. Raises SpecificationError where it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be written: {error.strerror}") from None
    return path.resolve()


def _read(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
