"""Pages of the site that are made when it is built: the reference, the command line, the changelog.

A hook of MkDocs. The reference has every name of ``slipstick.__all__`` on the page of the package that defines it, so a
new name is there without anyone writing it down; a package without a page is an error.
"""

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import slipstick
from slipstick.cli.app import app

ROOT = Path(__file__).resolve().parent.parent

PAGES = {
    "formats": ("Formats", "Which numbers exist."),
    "arithmetic": ("Arithmetics and adders", "What sums and products mean, and in which order sums are formed."),
    "aten": ("Running in an arithmetic", "PyTorch programs, and what they hold, in an arithmetic."),
    "watch": ("Watching", "What training does to the tensors of each layer. [How to](../watching.md)."),
    "quantize": ("Rounding by role", "Recipes and what they consist of."),
    "optim": ("Optimisers", "`slipstick.optim`, as `ss.optim`."),
    "train": ("Training", "`slipstick.train`: what the command line calls. Needs `slipstick[train]`."),
    "errors": ("Errors", "What is raised."),
}
"""Title and first sentence of the page of each package."""

OTHERS = {
    "watch": ("slipstick.watch.Look",),
    "aten": (
        "slipstick.aten.registry.defined",
        "slipstick.aten.registry.moves",
        "slipstick.aten.registry.selections",
        "slipstick.kernels.elementwise.chain",
    ),
}
"""What a page has besides names of ``slipstick``."""

MEMBERS_OF = {"use": ["audit"], "DistanceRecorder": ["histograms"], "Experiment": False, "Comparison": False}
"""Of objects whose page would otherwise show what is there for other parts of Slipstick."""

_LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)\s]+)\)")

_LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|data)=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?![^>]*\brel=["']?(?:canonical|prev|next)\b)[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    pages = reference_pages()
    pages["reference/cli.md"] = command_line_page()
    pages["changelog.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links into the source tree, which the site does not have, become the path as it is written."""
    docs = Path(config.docs_dir)

    def without_link(link: re.Match[str]) -> str:
        target = (docs / page.file.src_uri).parent / link[2].partition("#")[0]
        inside = target.resolve().is_relative_to(docs)
        return link[0] if inside or not target.exists() else link[1]

    return _LINK.sub(without_link, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """A page that would load something from elsewhere is an error."""
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        for tag in _LOADS.findall(page.read_text(encoding="utf-8")):
            raise PluginError(f"{page.name}: loads from the network: {tag[:200]}")


def reference_pages() -> dict[str, str]:
    """Markdown by path; a page lists the names of its package in the order of the alphabet."""
    paths: dict[str, list[str]] = {page: list(OTHERS.get(page, ())) for page in PAGES}
    for name in slipstick.__all__:
        if name == "__version__":
            continue
        value = getattr(slipstick, name)
        if isinstance(value, ModuleType):
            continue
        page = _package_of(value)
        if page not in paths:
            raise PluginError(f"docs/generated.py: slipstick.{name} has no page: add {page!r} to PAGES")
        paths[page].append(_path_of(value, f"slipstick.{page}.{name}"))
    for page in ("optim", "train"):
        package = import_module(f"slipstick.{page}")
        paths[page] += [_path_of(getattr(package, name), f"slipstick.{page}.{name}") for name in package.__all__]
    return {f"reference/{page}.md": _reference_page(page, sorted(found, key=_order)) for page, found in paths.items()}


def _path_of(value: Any, otherwise: str) -> str:
    """Where it is defined: a package may have a module of the same name."""
    defined = inspect.isclass(value) or inspect.isroutine(value)
    return f"{value.__module__}.{value.__qualname__}" if defined else otherwise


def _package_of(value: Any) -> str:
    """The part of ``slipstick`` that defines a class or function, or the class of a constant."""
    described = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    return described.__module__.split(".")[1]


def _order(path: str) -> tuple[bool, str]:
    """What users write as ``ss.name`` comes first."""
    name = path.rpartition(".")[2]
    return name not in slipstick.__all__, name.lower()


def _reference_page(page: str, paths: list[str]) -> str:
    title, first = PAGES[page]
    return "\n".join([f"# {title}\n\n{first}\n", *(_block(page, path) for path in paths)])


def _block(page: str, path: str) -> str:
    """What mkdocstrings replaces; the heading is what users write."""
    name = path.rpartition(".")[2]
    written = f"ss.{name}" if name in slipstick.__all__ else f"ss.optim.{name}" if page == "optim" else name
    members = f"\n      members: {json.dumps(MEMBERS_OF[name])}" if name in MEMBERS_OF else ""
    return f"::: {path}\n    options:\n      heading: {written}\n      toc_label: {written}{members}\n"


def command_line_page() -> str:
    """Every command with its arguments and options, as ``slipstick COMMAND --help`` has them."""
    group: Any = typer.main.get_command(app)
    text = [f"# Command line\n\n{group.help}\n\n`slipstick --help` and `slipstick COMMAND --help` print the same.\n"]
    for name in sorted(group.commands):
        text.append(_command(f"slipstick {name}", group.commands[name]))
    return "\n".join(text)


def _command(name: str, command: Any) -> str:
    """Of Typer's own commands or Click's: versions of Typer differ in which they make."""
    context = command.make_context(name, [], resilient_parsing=True)
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    arguments = [p.get_help_record(context) for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, *(called.split()[0].upper() for called, _ in filter(None, arguments)), "[OPTIONS]"])
    items = "\n".join(f"- `{called}`: {said}".replace("[", "\\[") for called, said in filter(None, records))
    return f"## {name}\n\n```console\n{usage}\n```\n\n{inspect.cleandoc(command.help or '')}\n\n{items}\n"
