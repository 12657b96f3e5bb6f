"""The page in a headless Chromium: nothing wider than a phone, every picture loads, no error, it prints."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import ARITHMETICS, make_run, make_study

from slipstick.report import read_contents, write_contents

WIDTHS = (360, 1280)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

# Frames have the width asked for, which windows do not; the page's own @media rules see it.
PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0">%s<pre id="told"></pre><script>
const look = frame => {
  const page = frame.document, root = page.documentElement, wide = [];
  for (const each of page.body.querySelectorAll("*")) {
    const box = each.getBoundingClientRect();
    if (box.width && box.right > frame.innerWidth + 1 && !each.closest(".scroll, pre, details:not([open])"))
      wide.push(each.tagName + ": " + each.textContent.slice(0, 60));
  }
  return {
    inner: frame.innerWidth, scroll: root.scrollWidth, wide,
    images: page.images.length, loaded: [...page.images].filter(i => i.complete && i.naturalWidth > 50).length,
    clipped: [...page.querySelectorAll("table.stacking td")].filter(td => td.scrollWidth > td.clientWidth + 1).length,
    rows: page.querySelectorAll("tbody tr").length, height: root.scrollHeight,
  };
};
addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")].map(each => each.contentWindow);
  document.getElementById("told").textContent = JSON.stringify(frames.map(look));
});
</script>"""


def chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(CHROMIUM), "--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--allow-file-access-from-files", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}",
        *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]  # fmt: skip
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)


def look(page: Path, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """What the probe measured at each width, and what the console said."""
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="width:{w}px;height:800px;border:0"></iframe>' for w in WIDTHS
    )
    (folder / "probe.html").write_text(PROBE % frames)
    done = chromium(folder, "--virtual-time-budget=20000", "--dump-dom", (folder / "probe.html").as_uri())
    told = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(unescape(told[1])), console


def printed_pages(page: Path, folder: Path) -> int:
    pdf = folder / "page.pdf"
    chromium(folder, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes()))


def few_runs(folder: Path) -> None:
    """All that a page can have: seeds, fronts, watched codes, long names, runs that failed."""
    make_study(folder, seeds=2, watched=False, arithmetics=ARITHMETICS[:5:2])
    long = "a label as long as those that people give their runs, withoutanyspaceinsomeofitsverylongwordswhichmustbreak"
    make_run(folder / "failed", 0.3, status="diverged", arithmetic="LNS(5,5) hamad2025", epochs=3, label=long)
    make_run(folder / "watched", 0.93, arithmetic="LNS(5,5) exact", seed=7, batch=128, watched=True)


def many_runs(folder: Path) -> None:
    make_study(folder, seeds=3, copies=9)


@pytest.mark.parametrize(
    ("make", "images"), [(few_runs, 13), pytest.param(many_runs, 35, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_the_page_fits_a_phone_and_a_desk_and_prints(tmp_path: Path, make: Callable[[Path], None], images: int) -> None:
    (tmp_path / "runs").mkdir()
    make(tmp_path / "runs")
    page = write_contents(read_contents([tmp_path / "runs"]), tmp_path / "runs" / "report.html")
    assert page.stat().st_size < 15e6
    found, console = look(page, tmp_path)
    assert console == ""
    assert [each["inner"] for each in found] == list(WIDTHS)
    for each in found:
        assert each["wide"] == []
        assert each["scroll"] <= each["inner"]
        assert each["images"] == each["loaded"] >= images
        assert each["clipped"] == 0
        assert each["rows"] > 12
    assert found[0]["height"] > found[1]["height"]
    assert printed_pages(page, tmp_path) >= 3


def test_the_probe_sees_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    image = '<img src="data:image/svg+xml;base64,AAAA">'
    page.write_text(f"<!doctype html><body><p style='width:800px'>wide</p>{image}<script>nothing()</script>")
    (narrow, wide), console = look(page, tmp_path)
    assert narrow["scroll"] > narrow["inner"]
    assert narrow["wide"] == ["P: wide"]
    assert (wide["wide"], wide["images"], wide["loaded"]) == ([], 1, 0)
    assert "nothing is not defined" in console
