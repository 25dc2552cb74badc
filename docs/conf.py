"""How the manual becomes a site (`make site`): every Markdown file of docs/ as it stands, with contents, descriptions and links.

The files themselves hold nothing that a page of a repository would show wrongly, so what a site needs besides is here.

Sphinx with MyST, since it finds dead links and anchors in plain Markdown, builds without a network, and is kept: 9.2 is of autumn
2026, MyST 5.2 of November. Material for MkDocs is past the end of its announced maintenance, MkDocs had no release since August
2024, and zensical is at 0.1. The theme, furo, has a dark ground and loads nothing from elsewhere.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import lossdoctor

project = "lossdoctor"
release = lossdoctor.__version__
html_title = f"lossdoctor {release}"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["manual.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
nitpicky = True
#: Options and Python are shown as they are typed.
smartquotes = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

#: The contents at the side: what is under which heading, in reading order. A page that is in none stops the build.
CONTENTS: dict[str, tuple[str, ...]] = {
    "Begin": ("Five minutes <start>", "How it works <how-it-works>", "Limits <limits>"),
    "What is wrong?": ("loss-is-zero", "loss-is-nan", "loss-is-stuck", "loss-exploded", "README"),
    "Use it": (
        "The callback <live>",
        "Logs <logs>",
        "TensorBoard <tensorboard>",
        "Reports <reports>",
        "Before the first step <check>",
        "Comparing <compare>",
        "Many runs <many>",
        "CI <ci>",
        "JSON and agents <json>",
    ),
    "Evidence": ("Evidence <evidence/README>", "How a difference is rated <compare-ratings>"),
}
#: Folders that are hung as they are below the page that names what is in them.
BELOW = {"README": ("symptoms", "causes", "checks"), "evidence/README": ("evidence",)}
#: As many letters of a page's first sentence as search engines show.
DESCRIPTION = 158


def _contents(app: Sphinx, name: str, text: list[str]) -> None:
    """Puts the table of contents, which only a site has, below the text of a page."""
    if name == root_doc:
        text[0] += "".join(_tree(pages, heading) for heading, pages in CONTENTS.items())
    for folder in BELOW.get(name, ()):
        pages = tuple(sorted(f"/{folder}/{page.stem}" for page in (DOCS / folder).glob("*.md") if page.stem != "README"))
        text[0] += _tree(pages) if pages else ""


def _tree(pages: tuple[str, ...], caption: str = "") -> str:
    head = f":caption: {caption}\n" if caption else ""
    return "\n\n```{toctree}\n:hidden:\n" + head + "\n" + "\n".join(pages) + "\n```\n"


def _describe(app: Sphinx, name: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Gives a page the description that search engines show: its own first sentences."""
    if tree is None:
        return
    text = ""
    for paragraph in tree.findall(nodes.paragraph):
        text = f"{text} {' '.join(paragraph.astext().split())}".strip()
        if len(text) >= DESCRIPTION // 2:
            break
    short = text if len(text) <= DESCRIPTION else text[:DESCRIPTION].rpartition(" ")[0] + " …"
    context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{escape(short)}" />\n'


class Folders(SphinxTransform):
    """A link to a folder of the repository is its path: the site does not hold it, and a file that it does hold is a download."""

    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        here = Path(self.env.doc2path(self.env.docname)).parent
        for link in list(self.document.findall(lambda node: isinstance(node, nodes.Element) and "reftarget" in node)):
            target = (here / link["reftarget"]).resolve()
            if target.is_dir() and DOCS.parent in target.parents:
                path = str(target.relative_to(DOCS.parent))
                link.replace_self(nodes.literal(path, path) if link.astext().strip("`") == path else list(link.children))


class Grounds(SphinxTransform):
    """A picture that exists for both grounds is shown in that of the page's own: beside NAME-light there is NAME-dark."""

    default_priority = 5

    def apply(self, **kwargs: Any) -> None:
        here = Path(self.env.doc2path(self.env.docname)).parent
        for picture in list(self.document.findall(nodes.image)):
            other = picture["uri"].replace("-light.", "-dark.")
            if other != picture["uri"] and (here / other).is_file():
                twin = picture.deepcopy()
                twin["uri"] = other
                picture["classes"].append("only-light")
                twin["classes"].append("only-dark")
                picture.parent.insert(picture.parent.index(picture) + 1, twin)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", _contents)
    app.connect("html-page-context", _describe)
    app.add_transform(Folders)
    app.add_transform(Grounds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
