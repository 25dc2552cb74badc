"""Makes the pictures of docs/pictures anew: a real run that breaks, as a report and in TensorBoard, in a real browser.

Run it with `make pictures`; it takes chromium and chromedriver, and a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]

from browser import Browser, Server, chromium, tensorboard, until
from fp16_collapse import LARGE_ACTIVATIONS, Counting, HalfPrecisionTrainer, arguments, tiny_model

from lossdoctor import LossDoctorCallback, Report

PICTURES = ROOT / "docs" / "pictures"
FACTS = {"gpu": "RTX 3090"}


def train(folder: Path) -> Report:
    """The run of `make demo`, with a row for every step and with evaluations."""
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
