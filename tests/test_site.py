"""The manual as a site: it builds without a warning, every link in it leads somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from manual import ROOT

pytest.importorskip("sphinx"), pytest.importorskip("myst_parser"), pytest.importorskip("furo")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: Any) -> Path:
    """The folder of the site, built as `make site` builds it."""
    folder: Path = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(folder / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "site"


class Page(HTMLParser):
    """The links, anchors, title and description of a page, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.description = self.title = self._in = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        here = {name: value or "" for name, value in attrs}
        self._in = tag
        if "id" in here:
            self.anchors.add(here["id"])
        if tag == "a" and "href" in here:
            self.links.append(here["href"])
        elif tag == "link" and here.get("rel") in ("stylesheet", "icon", "prefetch", "preload") and "href" in here:
            self.loads.append(here["href"])
        elif "src" in here:
            self.loads.append(here["src"])
        elif here.get("name") == "description":
            self.description = here["content"]

    def handle_data(self, data: str) -> None:
        if self._in == "title":
            self.title += data


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """All pages of the site by their files."""
    return {file: Page(file) for file in sorted(site.rglob("*.html"))}


def test_every_link_and_anchor_leads_somewhere(pages: dict[Path, Page]) -> None:
    """Links of the contents, the search and the downloads as well as those that somebody wrote."""
    dead = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https", "mailto"), link
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            there = target.is_file() and (not parts.fragment or target not in pages or parts.fragment in pages[target].anchors)
            if not there and link != "#":  # that alone is a button
                dead.append(f"{file.name}: {link}")
    assert not dead


def test_a_page_loads_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """Scripts, styles, fonts and pictures are part of the site, so that it can be read without a network."""
    for file, page in pages.items():
        for load in page.loads:
            assert not urlsplit(load).netloc and not load.startswith("//"), f"{file.name}: {load}"
            assert load.startswith("data:") or (file.parent / urlsplit(load).path).is_file(), f"{file.name}: {load}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style.name


def test_every_page_of_the_manual_is_in_it_and_can_be_found(site: Path, pages: dict[Path, Page]) -> None:
    """Each Markdown file of docs/ is a page with a title of its own and a description for those who search."""
    sources = sorted((ROOT / "docs").rglob("*.md"))
    assert len(sources) > 100
    described = {}
    for source in sources:
        page = pages[site / source.relative_to(ROOT / "docs").with_suffix(".html")]
        assert 30 <= len(page.description) <= 165, f"{source.name}: {page.description!r}"
        described[source] = page.title
    assert len(set(described.values())) == len(sources)
    zero = pages[site / "loss-is-zero.html"]
    assert zero.title.startswith("My loss is 0.0") and "NaN" in zero.description


def test_no_comment_for_the_tests_is_shown(site: Path) -> None:
    """What the tests read in the Markdown is not seen by a reader."""
    for file in site.rglob("*.html"):
        assert not re.search(r"&lt;!--", file.read_text(encoding="utf-8")), file.name
