"""The HTML report as a browser shows it: whole, quiet in the console, harmless, in both grounds, on paper and on a phone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from test_formats import broken

from lossdoctor.reports import html, words

pytestmark = pytest.mark.slow

BACKGROUND = "return getComputedStyle(document.body).backgroundColor"
#: Texts whose contrast with the ground behind them is under 4.5, by the formula of the guidelines.
CONTRAST = """
const linear = (part) => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
const light = (colour) => {
  const [red, green, blue] = colour.match(/[\\d.]+/g).map((part) => linear(part / 255));
  return .2126 * red + .7152 * green + .0722 * blue;
};
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
  }
  return 'rgb(255,255,255)';
};
const has_text = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
const found = [];
for (const element of document.querySelectorAll('main *')) {
  if (!has_text(element) || element.closest('.mark') || element.tagName === 'title') continue;
  const style = getComputedStyle(element);
  const one = light(element.closest('svg') ? style.fill : style.color), other = light(ground(element));
  const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  if (ratio < 4.5) found.push([element.tagName, element.textContent.slice(0, 30), ratio]);
}
return found;
"""


@pytest.fixture
def opened(tmp_path: Path, browser: Any) -> Any:
    """Opens reports as a page from a file."""

    def show(*reports: Any, scheme: str = "light") -> Any:
        page = tmp_path / "report.html"
        page.write_text(html.render(reports), encoding="utf-8")
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        browser.open(page.as_uri())
        return browser

    yield show
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_marks_and_curves_are_there_and_the_console_is_quiet(opened: Any) -> None:
    """Every mark stands inside the picture, on the step where its symptom begins; nothing was refused by the policy."""
    report = broken()
    page = opened(report)
    marks = page.run(
        "return [...document.querySelectorAll('.mark')]"
        ".map((mark) => [mark.querySelector('title').textContent, mark.getBoundingClientRect().x])"
    )
    box = page.run("const b = document.querySelector('svg').getBoundingClientRect(); return [b.left, b.right, b.height]")
    assert len(marks) == len(words.alarming(report)) and box[2] > 300
    assert all(box[0] < x < box[1] for _, x in marks) and any("step 81" in said for said, _ in marks)
    assert not page.errors()


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"><svg onload=alert(1)>", "javascript:alert(1)"]
)
def test_a_hostile_name_is_only_a_name(opened: Any, name: str) -> None:
    """No dialog, no element of its own, no error: it is read as it was written."""
    report = broken(name=name)
    page = opened(report, report)
    assert page.run("return document.querySelector('h1').textContent") == name
    assert page.run("return document.querySelectorAll('img, main script, [onload], [onerror]').length") == 0
    with pytest.raises(Exception, match="no such alert"):
        _ = page.driver.switch_to.alert
    assert not page.errors()


def test_a_script_that_gets_into_the_page_does_not_run(opened: Any) -> None:
    """The policy is the second lock: what is written into the page by hand is refused."""
    page = opened(broken())
    text = html.render([broken()]).replace("</main>", "<script>document.title = 'run'</script></main>")
    path = Path(page.driver.current_url.removeprefix("file://"))
    path.write_text(text, encoding="utf-8")
    page.open(path.as_uri())
    assert page.driver.title != "run" and any("Content Security Policy" in error for error in page.errors())


def test_both_grounds_follow_the_system_and_the_button(opened: Any) -> None:
    """Light, dark, and back by the button; letters keep their distance from the ground."""
    light = opened(broken()).run(BACKGROUND)
    page = opened(broken(), scheme="dark")
    dark = page.run(BACKGROUND)
    assert light != dark
    page.run("document.querySelector('[data-ground]').click()")
    assert page.run(BACKGROUND) == light
    page.run("document.querySelector('[data-ground]').click()")
    assert page.run(BACKGROUND) == dark and not page.errors()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_their_ground(opened: Any, scheme: str) -> None:
    """The contrast of every text is at least 4.5, as the Web Content Accessibility Guidelines want it (level AA)."""
    page = opened(broken(), scheme=scheme)
    poor = page.run(CONTRAST)
    assert not poor


def test_settings_are_copied_as_they_are_pasted(opened: Any) -> None:
    """The button gives the lines of its block, and says that it has."""
    page = opened(broken())
    page.run(
        "window.copied = []; navigator.clipboard.writeText = (text) => { window.copied.push(text); return Promise.resolve(); }"
    )
    page.run("document.querySelector('.code button').click()")
    assert page.run("return window.copied[0]") == page.run("return document.querySelector('.code pre').textContent") + "\n"
    assert page.run("return document.querySelector('.code button').textContent") == "Copied" and not page.errors()


def test_the_curves_are_read_at_the_pointer(opened: Any) -> None:
    """At a third of the way the line under the chart names the step and the values there."""
    page = opened(broken())
    page.run(
        """
        const chart = document.querySelector('svg'), box = chart.getBoundingClientRect();
        const [left, width] = chart.dataset.plot.split(' ').map(Number), scale = box.width / chart.viewBox.baseVal.width;
        const place = { clientX: box.left + (left + width / 3) * scale, clientY: box.top + 50 };
        chart.dispatchEvent(new PointerEvent('pointermove', place));
        """
    )
    said = page.run("return document.querySelector('.readout').textContent")
    assert said.startswith("step 41") and "train ≈ 1.4" in said and "learning rate ≈ 0.00005" in said.replace("5e-5", "0.00005")
    assert not page.errors()


def test_a_phone_and_paper_show_all_of_it(opened: Any, tmp_path: Path) -> None:
    """Nothing is wider than a screen of 360 pixels; printed it has its pages, without buttons."""
    page = opened(broken(name="a/very/long/path/" * 12))
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        assert page.run("return document.documentElement.scrollWidth") <= 360
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 6
