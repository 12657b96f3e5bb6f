"""The pages of the documentation, their fenced blocks, and the commands in those."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITTEN_BY_COMMANDS = ("docs/operators.md", "docs/results/reports/")
"""Output of commands, kept as it is; their own tests check what they write."""

_FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_LOOP = re.compile(r"^for (\w+) in (\S+)[^;]*; do (.*); done$")


@dataclass(frozen=True)
class Block:
    """page: relative to the project. line: of the fence. output: what the next block says this one prints, if so.

    title: the file that a reader saves it under, given as mkdocs shows it: ```toml title="mine.toml".
    """

    page: str
    line: int
    language: str
    text: str
    output: str | None = None
    title: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Paths relative to the project."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return [n for n in names if not n.startswith(WRITTEN_BY_COMMANDS) or n.endswith("reports/README.md")]


def blocks(page: str) -> list[Block]:
    """In the order of the page; a block "text" directly after another is that one's output."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        indent, language, rest, body = match.groups()
        body = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        follows = found and text[end : match.start()].strip() == "" and found[-1].language in ("python", "sh", "bash")
        if language == "text" and follows:
            found[-1] = replace(found[-1], output=body)
        else:
            title = _TITLE.search(rest)
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, language, body, title=title and title[1]))
        end = match.end()
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block; of a loop, its body for the first value."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if loop := _LOOP.match(line.strip()):
            name, value, body = loop.groups()
            line = body.replace(f"${name}", value)
        if words := shlex.split(line, comments=True):
            yield [word.removeprefix(".venv/bin/") for word in words]


def comparable(text: str) -> str:
    """Without what no two runs have alike: times, their ratios, folders above a file, progress bars, and spaces and
    rules whose lengths follow from those."""
    text = re.sub(r"[^\n]*\r", "", text)  # overwritten, as bars are
    text = re.sub(r"(?<![\w./])/(?:[\w.-]+/)+", "", text)
    text = re.sub(r"\d+(\.\d+)? ?(ms|s|minutes|min)\b(/step)?|\d+\.\d+x(?!\w)", "TIME", text)
    text = re.sub(r"\d+\.\d$", "TIME", text, flags=re.MULTILINE) if "operator  " in text else text  # an audit's ms
    text = re.sub(r"─+", "─", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip() and "━" not in line)


def every_command() -> list[tuple[Block, list[str]]]:
    """Of every page."""
    shells = [block for page in pages() for block in blocks(page) if block.language in ("sh", "bash")]
    return [(block, words) for block in shells for words in commands(block)]
