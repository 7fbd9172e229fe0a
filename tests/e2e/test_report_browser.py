"""The report as a browser shows it: nothing refused, nothing cut off, on a desk and on a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd import report

EXAMPLE = Path(__file__).parents[1] / "data" / "report_example.json"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

# The page in a frame of the wanted width: a headless window itself is never below 500 pixels.
MEASURE = """<!doctype html><body style="margin:0">
<iframe id="frame" style="width:{width}px;height:900px;border:0"></iframe><pre id="found"></pre>
<script>
frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const outside = [...page.querySelectorAll("body *")].filter(e =>
    !e.closest(".scroll") && !e.closest(".plot") && e.getBoundingClientRect().right > {width} + 1);
  found.textContent = JSON.stringify({{
    page_width: root.scrollWidth,
    outside: outside.map(e => e.tagName + "." + e.className),
    num_images: page.images.length,
    num_broken: [...page.images].filter(image => !image.naturalWidth).length,
    plot_heights: [...page.querySelectorAll(".plot svg")]
      .map(svg => Math.round(svg.getBoundingClientRect().height)),
    smallest_text: Math.min(...[...page.querySelectorAll("p, td, th, dd, figcaption")]
      .map(e => parseFloat(getComputedStyle(e).fontSize))),
  }});
}};
frame.src = "report.html";
</script>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report.write(json.loads(EXAMPLE.read_text(encoding="utf-8")), tmp_path)
    return tmp_path


@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_its_width(folder: Path, width: int) -> None:
    (folder / "measure.html").write_text(MEASURE.format(width=width), encoding="utf-8")
    done = _chromium(
        folder,
        "measure.html",
        "--allow-file-access-from-files",
        "--dump-dom",
        "--virtual-time-budget=10000",
        "--window-size=1400,1000",
    )
    found = _found(done.stdout)
    assert found["page_width"] == width
    assert found["outside"] == []
    assert (found["num_images"], found["num_broken"]) == (4, 0)
    assert len(found["plot_heights"]) == 6
    assert min(found["plot_heights"]) > 150
    assert found["smallest_text"] >= 12


@pytest.mark.parametrize(("scheme", "is_light"), [(1, True), (0, False)])
def test_picture_follows_the_colour_scheme(folder: Path, scheme: int, is_light: bool) -> None:
    picture = folder / "page.png"
    done = _chromium(
        folder,
        "report.html",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--screenshot={picture}",
        "--window-size=1280,3000",
    )
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert bool(np.median(pixels) > 200) is is_light
    assert len(np.unique(pixels, axis=0)) > 300  # text, plots and pictures, not one flat sheet
    assert "Content Security Policy" not in done.stderr, done.stderr


def _found(dom: str) -> dict[str, Any]:
    match = re.search(r'<pre id="found">(.+?)</pre>', dom, re.DOTALL)
    assert match, dom[:2000]
    return json.loads(html.unescape(match[1]))


def _chromium(folder: Path, page: str, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            *flags,
            (folder / page).as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
