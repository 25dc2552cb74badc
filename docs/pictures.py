"""Makes the pictures of docs/pictures anew: what the terminal shows of the bundled run, and a real run that breaks, as a report
and in TensorBoard, in a real browser.

Run it with `make pictures`; it takes chromium and chromedriver, and a minute. With the word `terminal` it makes those alone that
take no browser.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "examples")]

if TYPE_CHECKING:
    from browser import Browser, Server

from lossdoctor import Fact, Report, analyze, language
from lossdoctor.reports.text import render

PICTURES = ROOT / "docs" / "pictures"
FACTS = {"gpu": "RTX 3090"}
#: How many columns the terminal of the picture has.
COLUMNS = 84


def terminal() -> dict[str, str]:
    """`lossdoctor demo` in each language and on both grounds, as SVG by its name: the true output in its true colours."""
    from rich.terminal_theme import DIMMED_MONOKAI, TerminalTheme

    # The colours of the site's own grounds: dark enough on white, light enough on black.
    light = TerminalTheme(
        (255, 255, 255), (36, 41, 47), [(36, 41, 47), (180, 35, 24), (17, 99, 41), (138, 90, 0), (9, 88, 180), (130, 80, 223),
         (14, 116, 144), (87, 96, 106)], [(87, 96, 106), (180, 35, 24), (17, 99, 41), (138, 90, 0), (9, 88, 180), (130, 80, 223),
         (14, 116, 144), (36, 41, 47)])  # fmt: skip
    grounds = {"light": light, "dark": DIMMED_MONOKAI}
    drawn = {}
    for code in language.LANGUAGES:
        option, suffix = ("", "") if code == "en" else (f"--lang {code} ", f"{code}-")
        shown = _demo(code)
        for name, theme in grounds.items():
            drawn[f"demo-{suffix}{name}.svg"] = _drawn(f"$ lossdoctor {option}demo", shown, theme)
    return drawn


def _demo(code: str) -> str:
    """What `lossdoctor demo` prints in that language: the verdict, the first cause and its first remedy."""
    before = language.spoken()
    language.use(code)
    try:
        known = {name: Fact(value, "--set") for name, value in FACTS.items()}
        (found,) = analyze(ROOT / "lossdoctor" / "demo", known=known)
        shown = render([replace(found, run=replace(found.run, path=language.say("the demo run")))], color=True, width=COLUMNS)
        seen, why = (shown.index(f"\x1b[1;4m{language.say(heading)}") for heading in ("Seen", "Why"))
        last = shown.index("\n", shown.index("fp16: true", why))
        return f"{shown[:seen]}…\n\n{shown[why:last]}\n       …"
    finally:
        language.use(before)


def _drawn(command: str, shown: str, theme: Any) -> str:
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(command, "bold"))
    console.print(Text.from_ansi(shown))
    drawn = console.export_svg(title="lossdoctor", theme=theme, unique_id="demo")
    drawn = drawn.replace("rgba(255,255,255,0.35)", "rgba(128,128,128,0.5)")  # the frame, to be seen on white as well
    drawn = drawn.replace("font-variant-east-asian: full-width", "font-variant-east-asian: normal")  # Latin letters stay narrow
    drawn = _STRETCH.sub(_in_cells, drawn)
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.S)  # nothing is loaded from anywhere: the system's font does


#: A stretch of text in rich's SVG, and Hangul in it, which takes two cells a letter.
_STRETCH = re.compile(
    r'<text (class="demo-r\d+") x="([\d.]+)" (y="[\d.]+") textLength="[\d.]+" (clip-path="[^"]+")>([^<]*)</text>'
)
_HANGUL = re.compile("((?:[가-힣]+\N{NO-BREAK SPACE}?)+)")
_CELL = 12.2


def _in_cells(found: re.Match[str]) -> str:
    """Hangul by itself, twice as wide: rich gives a stretch of text the room of as many letters."""
    from rich.cells import cell_len

    style, left, height, clip, words = found.groups()
    column, drawn = float(left), ""
    for run in _HANGUL.split(unescape(words)) if _HANGUL.search(unescape(words)) else []:
        width, size = _CELL * cell_len(run), ' font-size="22"' if _HANGUL.match(run) else ""
        place = f'x="{column:.1f}" {height} textLength="{width:.1f}"'
        drawn += f"<text {style} {place}{size} {clip}>{_written(run)}</text>" if run.strip() else ""
        column += width
    return drawn or found[0]


def _written(run: str) -> str:
    return escape(run).replace("\N{NO-BREAK SPACE}", "&#160;")


def badges() -> dict[str, str]:
    """The badges of the README, as SVG by their names; what they say is read from pyproject.toml."""
    from importlib import import_module

    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    about, prefix = project["project"], "Programming Language :: Python :: 3."
    minors = sorted(int(c.removeprefix(prefix)) for c in about["classifiers"] if c.startswith(prefix))
    assert project["tool"]["mypy"]["strict"] and (ROOT / "lossdoctor" / "py.typed").is_file()
    said = {"python": f"3.{minors[0]} – 3.{minors[-1]}", "licence": about["license"], "typed": "mypy --strict"}
    return {f"badge-{name}.svg": _badge(name, words) for name, words in said.items()}


def _badge(name: str, words: str) -> str:
    left, right = (14 + round(6.3 * len(text)) for text in (name, words))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}: {words}">'
        f'<rect width="{left + right}" height="20" rx="3" fill="#555"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" fill="#0b6e4f"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2}" y="14" textLength="{left - 12}">{name}</text>'
        f'<text x="{left + right / 2}" y="14" textLength="{right - 12}">{words}</text></g></svg>\n'
    )


def train(folder: Path) -> Report:
    """The run of `make demo`, with a row for every step and with evaluations."""
    from fp16_collapse import LARGE_ACTIVATIONS, Counting, HalfPrecisionTrainer, arguments, tiny_model

    from lossdoctor import LossDoctorCallback

    doctor = LossDoctorCallback(facts=FACTS)
    settings: dict[str, Any] = {
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    trainer = HalfPrecisionTrainer(
        tiny_model(LARGE_ACTIVATIONS),
        arguments(str(folder), **settings, report_to=["tensorboard"]),
        train_dataset=Counting(),
        eval_dataset=Counting(rows=64),
        callbacks=[doctor],
    )
    trainer.train()
    return doctor.report


def report(browser: Browser, found: Report, folder: Path) -> None:
    """The first screen of the page, on both grounds."""
    found.save(folder / "report.html")
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        browser.open((folder / "report.html").resolve().as_uri())
        browser.screenshot(PICTURES / f"report-{scheme}.png")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def charts(browser: Browser, server: Server) -> None:
    """The marks on TensorBoard's own charts."""
    from browser import until

    until(lambda: [run for run in server.json("data/runs") if "/lossdoctor/" in run])
    browser.open(f"{server.url}/?tagFilter=train%2F(loss|grad_norm)&smoothing=0#timeseries")
    until(lambda: browser.run("return document.querySelectorAll('line-chart').length >= 2"))
    browser.run("document.querySelector('.settings-button, button[aria-label*=ettings]')?.click()")
    time.sleep(3)  # for the charts to be laid out in the room that the settings have left
    browser.screenshot(PICTURES / "tensorboard.png")


def tab(browser: Browser, server: Server) -> None:
    """The report in its tab."""
    browser.open(f"{server.url}/#lossdoctor")
    time.sleep(6)  # for the tab to be chosen and the report to be drawn
    browser.screenshot(PICTURES / "tab.png")


def with_tab(folder: Path) -> dict[str, str]:
    """The environment of a TensorBoard that has the tab, which is installed into a folder of its own."""
    source = str(ROOT / "plugins" / "lossdoctor-tensorboard")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), source], check=True)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def main() -> None:
    """All of them."""
    PICTURES.mkdir(exist_ok=True)
    for name, drawn in {**terminal(), **badges()}.items():
        (PICTURES / name).write_text(drawn, encoding="utf-8")
    if sys.argv[1:] == ["terminal"]:
        return
    from browser import chromium, tensorboard

    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)  # so that the pictures show no path of this machine
        folder = Path("outputs", "my-run")
        found = train(folder)
        environment = with_tab(Path(temporary, "tab"))
        with chromium() as browser, tensorboard(folder / "runs", Path(temporary, "printed"), **environment) as server:
            browser.driver.set_window_size(1000, 1000)
            report(browser, found, folder)
            browser.driver.set_window_size(1300, 760)
            charts(browser, server)
            tab(browser, server)


if __name__ == "__main__":
    main()
