"""Every check has configurations that are sick and healthy, and beside each the exact text that a user reads.

`UPDATE_CASES=1 pytest tests/test_checks.py` writes the texts anew; the difference is for a reviewer to read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
from conftest import ROOT

import lossdoctor
from lossdoctor import checkup, suggest
from lossdoctor.base import Check
from lossdoctor.model import Fact, Finding, LossDoctorError, NotJudged, Run
from lossdoctor.registry import all_checks
from lossdoctor.reports import Look
from lossdoctor.reports.checkup import FORMATS, render, save
from lossdoctor.reports.checkup_json import schema
from lossdoctor.reports.checkup_text import brief

CHECKS = ROOT / "tests" / "checks"
CONFIGURATIONS = sorted(path for path in CHECKS.glob("*/*") if path.suffix != ".txt")
every_configuration = pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda p: f"{p.parent.name}/{p.stem}")


def judged(path: Path) -> checkup.CheckReport:
    run = checkup.check(path).run
    return checkup.examine(replace(run, path=f"{path.parent.name}/{path.name}"), strict=True)


def found(report: checkup.CheckReport) -> dict[str, str]:
    return {finding.slug: finding.severity for finding in report.findings}


def command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    words = (sys.executable, "-m", "lossdoctor", *words)
    return subprocess.run(words, capture_output=True, text=True, env=variables, cwd=cwd, check=False, timeout=60)


@pytest.mark.parametrize("slug", all_checks())
@pytest.mark.parametrize("kind", ["sick", "healthy"])
def test_every_check_has_a_sick_and_a_healthy_configuration(slug: str, kind: str) -> None:
    """Nothing is promised without a configuration that shows it and one that does not."""
    assert (CHECKS / slug / f"{kind}.yaml").is_file(), f"add tests/checks/{slug}/{kind}.yaml"


@every_configuration
def test_the_sick_one_is_named_and_the_healthy_one_is_not(path: Path) -> None:
    """A sick configuration is named by its check; a healthy one has no finding of it, and no warning of any other."""
    report = judged(path)
    if path.stem.startswith("sick"):
        assert path.parent.name in found(report)
    else:
        assert path.parent.name not in found(report)
        assert report.verdict == "healthy"


@every_configuration
def test_the_user_reads_exactly_this(path: Path) -> None:
    """The text beside the configuration is what the command prints at 80 columns, to the letter."""
    text = render(judged(path), "text", Look(color=False, width=80))
    expected = path.with_suffix(".txt")
    if os.environ.get("UPDATE_CASES"):
        expected.write_text(text, encoding="utf-8")
    assert expected.is_file(), f"run UPDATE_CASES=1 pytest {Path(__file__).relative_to(ROOT)} and read {expected.name}"
    assert text == expected.read_text(encoding="utf-8")


def test_no_configuration_is_an_orphan() -> None:
    """Every folder belongs to a check, and every text to a configuration."""
    assert {path.name for path in CHECKS.iterdir()} == set(all_checks())
    assert {path.with_suffix("") for path in CHECKS.glob("*/*.txt")} == {path.with_suffix("") for path in CONFIGURATIONS}


@every_configuration
def test_every_warning_has_a_remedy_with_a_source_and_numbers(path: Path) -> None:
    """What is worth a warning is worth a way out, and the evidence stands beside it; nobody shouts."""
    for finding in judged(path).findings:
        assert "!" not in finding.message and not finding.message.endswith(".")
        if finding.severity != "info":
            sources = [source for remedy in finding.remedies for source in remedy.sources]
            assert finding.remedies
            assert all(source.startswith("https://") for source in sources)
        for remedy in finding.remedies:
            assert remedy.do and remedy.why and remedy.sources


@every_configuration
def test_the_json_is_strict_and_as_the_schema_says(path: Path) -> None:
    """Programs can rely on the schema beside the report."""
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(render(judged(path), "json", Look()), parse_constant=lambda name: pytest.fail(name))
    jsonschema.validate(document, schema())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_names_the_finding(kind: str) -> None:
    """Whatever the format, the finding, its sentence and what to change are in it."""
    report = judged(CHECKS / "learning-rate-unusual" / "sick.yaml")
    text = " ".join(re.sub(r"[\\]|&#x27;", "", render(report, kind, Look(color=False, width=200))).split())
    assert "learning-rate-unusual" in text and "1e-4 to 1e-3 are usual for LoRA" in text
    assert kind == "junit" or "2e-4" in text or "0.0002" in text


def test_a_configuration_that_is_fine_gets_a_verdict_and_a_plan() -> None:
    """Silence is a feature: the verdict, a few lines of what the run comes to, and nothing else."""
    report = lossdoctor.check(
        {"learning_rate": 2e-4, "lora_r": 16, "lora_alpha": 32, "bf16": True, "num_train_epochs": 2,
         "lr_scheduler_type": "cosine", "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "warmup_ratio": 0.05},
        model="meta-llama/Llama-3.1-8B", rows=20_000, gpu="A100")  # fmt: skip
    assert report.verdict == "healthy" and not report.findings and not report.not_judged
    assert str(report).splitlines() == [
        "this configuration",
        "✔ HEALTHY  Nothing wrong found in this configuration.",
        "",
        "Plan",
        "  batch      16 examples in one step (4 per device × 4 accumulated × 1 process);",
        "             taken as usual: one process",
        "  steps      2,500 (2 epochs × 1,250 steps)",
        "  warm-up    125 steps, 5% of the run",
        "  rate       2e-4, cosine, to 8.75e-11 in the last step",
        "  precision  bf16",
        "  adapter    rank 16, scale 2 (32 / 16)",
    ]


def test_nothing_stated_is_not_healthy() -> None:
    """A name alone lets nothing be judged, and that is said."""
    assert lossdoctor.check({"model_name_or_path": "gpt2"}).verdict == "insufficient"


def test_what_is_not_known_is_named_with_the_option_that_tells_it(tmp_path: Path) -> None:
    """Without the number of examples and the GPU, what could not be judged stands at the end, by reason."""
    path = tmp_path / "run.yaml"
    path.write_text("bf16: true\nper_device_train_batch_size: 4\nwarmup_steps: 500\nlearning_rate: 2.0e-5\n")
    told = {item.why: item.what for item in lossdoctor.check(path).not_judged}
    assert any("--dataset-rows" in why and "warmup-too-long" in what for why, what in told.items())
    assert any("--gpu" in why and "unsupported-number-format" in what for why, what in told.items())
    assert not lossdoctor.check(path, rows=100_000, gpu="A100").not_judged


def test_what_is_passed_wins_over_what_is_stated() -> None:
    """The options of the command say what the file does not know, and correct what it has wrong."""
    stated = {"bf16": True, "gpu": "A100", "learning_rate": 1e-5}
    assert "unsupported-number-format" not in found(lossdoctor.check(stated))
    assert "unsupported-number-format" in found(lossdoctor.check(stated, gpu="T4"))
    assert "unsupported-number-format" not in found(lossdoctor.check(stated, gpu="T4", facts={"bf16": False}))


def test_several_files_describe_one_run(tmp_path: Path) -> None:
    """The arguments, the adapter and the DeepSpeed JSON together; what DeepSpeed says otherwise is a disagreement."""
    (tmp_path / "args.yaml").write_text("learning_rate: 2.0e-4\nnum_train_epochs: 1\nper_device_train_batch_size: 4\n")
    (tmp_path / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": ["q_proj"]}'
    )
    deepspeed = {"zero_optimization": {"stage": 2, "overlap_comm": True}, "optimizer": {"params": {"lr": 1e-5}},
                 "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 700}}}  # fmt: skip
    (tmp_path / "ds.json").write_text(json.dumps(deepspeed))
    names = ("ds.json", "args.yaml", "adapter_config.json")
    for order in (names, names[::-1]):
        report = lossdoctor.check([tmp_path / name for name in order], rows=4000)
        assert {"deepspeed-disagreement", "overlapping-communication", "schedule-of-another-length"} <= set(found(report))
        assert report.plan.adapter_scale is not None and report.run.get("learning_rate") == 2e-4
        assert report.plan.total_steps is not None and report.plan.total_steps.whole == 1000


def test_a_folder_of_a_run_is_read(tmp_path: Path) -> None:
    """The output folder of a run, and a folder that holds nothing of it."""
    (tmp_path / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "lora_alpha": 512, "target_modules": "all-linear"}'
    )
    assert found(lossdoctor.check(tmp_path)) == {"adapter-scale-unusual": "warning"}
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(LossDoctorError, match="is a folder without"):
        lossdoctor.check(tmp_path)


def test_an_object_like_training_arguments_and_a_lora_config_are_enough() -> None:
    """What a script has in its hands before it makes a Trainer."""
    args = SimpleNamespace(learning_rate=1e-5, fp16=True, bf16=False, output_dir="out", max_steps=-1, num_train_epochs=3.0)
    peft = SimpleNamespace(r=16, lora_alpha=32, target_modules={"q_proj", "v_proj"}, use_rslora=False)
    report = lossdoctor.check(args, model="Qwen/Qwen2-7B", peft=peft, rows=10_000)
    assert {"learning-rate-unusual", "fp16-for-bf16-model", "attention-only-adapter"} <= set(found(report))
    with pytest.raises(LossDoctorError, match="found int"):
        lossdoctor.check(3)


def test_a_check_that_fails_is_switched_off_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of our own takes one check away, says so, and leaves the others."""
    broken = all_checks()["clipping-off"]
    monkeypatch.setattr(broken, "look", lambda self, plan: 1 / 0)
    report = lossdoctor.check({"max_grad_norm": 0, "lora_r": 8, "lora_alpha": 512})
    assert "adapter-scale-unusual" in found(report)
    assert any(item.what == "clipping-off" and "ZeroDivisionError" in item.why for item in report.not_judged)
    with pytest.raises(ZeroDivisionError):
        checkup.examine(report.run, strict=True)


def test_findings_of_others_stand_among_ours() -> None:
    """Who looks at the data hands in findings, and what could not be seen."""
    extra = Finding("truncated-rows", "critical", "9 of 10 rows are cut off", ("max_length: 16",))
    report = lossdoctor.check({"learning_rate": 2e-5}, extra=[extra], not_judged=[NotJudged("labels", "no data is given")])
    assert report.verdict == "critical" and report.findings[0] is extra
    assert report.not_judged[-1].what == "labels"


def test_what_says_the_same_is_said_once() -> None:
    """fp16 and bf16 together is the finding; that fp16 overflows or hides NaN is not told as well."""
    report = lossdoctor.check({"fp16": True, "bf16": True, "model_name_or_path": "Qwen/Qwen2-7B"})
    assert found(report) == {"conflicting-precisions": "critical"}


def test_a_wall_of_notes_is_cut() -> None:
    """Three notes are shown; the others are named, and the JSON has all of them."""
    report = lossdoctor.check(
        {"max_grad_norm": 0, "fp16": True, "lr_scheduler_type": "constant", "warmup_steps": 9, "lora_target_modules": ["q_proj"],
         "lora_r": 512, "lora_alpha": 512, "max_steps": 40, "learning_rate": 2e-4})  # fmt: skip
    text = str(report)
    assert text.count("\n  · ") == 4 and "more: " in text
    assert all(finding.slug in text for finding in report.findings)


def test_thresholds_can_be_set(tmp_path: Path) -> None:
    """`[tool.lossdoctor.<slug>]` holds for checks as for detectors, and a wrong name is told."""
    (tmp_path / "run.yaml").write_text("lora_r: 16\nlora_alpha: 64\nlearning_rate: 2.0e-4\n")
    (tmp_path / "pyproject.toml").write_text("[tool.lossdoctor.adapter-scale-unusual]\nhigh = 1.0\nfar = 3.0\n")
    done = command("check", "run.yaml", "--fail-on", "warning", cwd=tmp_path)
    assert done.returncode == 1 and "adapter-scale-unusual" in done.stdout
    (tmp_path / "pyproject.toml").write_text("[tool.lossdoctor.adapter-scale-unusual]\nhigher = 1.0\n")
    done = command("check", "run.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "high" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_command_exits_as_analyze_does(tmp_path: Path) -> None:
    """0 if all is well, 1 on findings of `--fail-on` or worse, 2 if an input or an option cannot be used."""
    sick, healthy = CHECKS / "conflicting-precisions" / "sick.yaml", CHECKS / "clipping-off" / "healthy.yaml"
    assert command("check", str(sick)).returncode == 1
    assert command("check", str(sick), "--fail-on", "never").returncode == 0
    assert command("check", str(healthy)).returncode == 0
    warned = ("check", str(CHECKS / "warmup-too-long" / "sick.yaml"))
    assert command(*warned).returncode == 0 and command(*warned, "--fail-on", "warning").returncode == 1
    for words in (("check", "nowhere.yaml"), ("check", str(healthy), "--set", "nothing=1"),
                  ("check", str(healthy), "--output-format", "jsonl"), ("check",)):  # fmt: skip
        done = command(*words)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_report_goes_into_a_file_and_suggestions_into_another(tmp_path: Path) -> None:
    """`-o` writes by the ending of the name; `--suggest` writes what to change as YAML that can be merged."""
    import yaml

    sick = str(CHECKS / "learning-rate-unusual" / "sick.yaml")
    done = command("check", sick, "-o", str(tmp_path / "report.html"), "--suggest", str(tmp_path / "new.yaml"))
    assert done.returncode == 0 and not done.stdout
    assert "<!doctype html>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert yaml.safe_load((tmp_path / "new.yaml").read_text(encoding="utf-8")) == {"learning_rate": 2e-4}
    report = lossdoctor.check(sick)
    report.save(tmp_path / "report.md")
    assert "learning-rate-unusual" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert suggest.render(report).startswith(suggest.MARK)
    with pytest.raises(LossDoctorError, match="cannot write"):
        save(report, tmp_path / "no" / "report.txt")


def test_hostile_names_stay_words() -> None:
    """What a configuration calls its model opens no element, no command and no column."""
    name = "<script>alert(1)</script>\n::error::x|`y`\x00"
    run = Run(path=name, facts={"model_name_or_path": Fact(f"qwen2 {name}", name), "fp16": Fact(True, name)})
    report = checkup.examine(run, strict=True)
    assert report.verdict == "warning"
    assert "<script>alert" not in render(report, "html", Look())
    assert not any(line.startswith("::error") for line in render(report, "github", Look()).splitlines())
    from xml.etree import ElementTree

    ElementTree.fromstring(render(report, "junit", Look()))


def test_the_brief_tells_warnings_alone() -> None:
    """At the beginning of a training, notes are for nobody."""
    report = judged(CHECKS / "learning-rate-unusual" / "sick.yaml")
    assert any(finding.severity == "info" for finding in report.findings)
    text = brief(report, width=80)
    assert "learning_rate: 1e-5 → 2e-4" in text and "rank" not in text and len(text.splitlines()) <= 6


def test_analysing_loads_no_check() -> None:
    """Who only analyses a log does not pay for the checks."""
    code = "from lossdoctor.cli import main\ntry: main(['demo'])\nexcept SystemExit: pass\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lossdoctor.checkup" not in loaded
    assert not [name for name in loaded if name.startswith("lossdoctor.checks.")]


def test_checking_loads_no_training_library() -> None:
    """A configuration is checked without torch, transformers and scipy."""
    sick = str(CHECKS / "learning-rate-unusual" / "sick.yaml")
    code = f"from lossdoctor.cli import main\ntry: main(['check', {sick!r}])\nexcept SystemExit: pass\n"
    code += "import sys\nprint(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "lossdoctor.checks.clipping_off" in loaded
    assert not loaded & {"torch", "transformers", "scipy", "numpy", "tensorboard", "accelerate"}


@pytest.mark.parametrize(
    ("mark", "options"),
    [("", "--dataset-rows 5000 --gpu A100"), ("data ", "--gpu A100 --data train.jsonl --model-path model")],
    ids=["configuration", "data"],
)
def test_the_manual_shows_what_the_command_prints(mark: str, options: str, tmp_path: Path) -> None:
    """The examples of docs/check.md are configurations that can be checked, and their outputs are the true ones."""
    page = ROOT / "docs" / "check.md"
    text = page.read_text(encoding="utf-8")
    example = re.search(rf"<!-- {mark}example -->\n```yaml\n(.*?)```", text, re.S)
    assert example is not None
    (tmp_path / "run.yaml").write_text(example[1], encoding="utf-8")
    if mark:
        tiny_models.config(tiny_models.tokenizer(tmp_path / "model"))
        answers = ["because it was " * (10 + number % 90) for number in range(900)]
        rows = [{"instruction": f"why is bridge {number} red", "output": answer} for number, answer in enumerate(answers)]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ("check", "run.yaml", *options.split())
    shown = f"$ lossdoctor {' '.join(words)}\n{command(*words, cwd=tmp_path).stdout}"
    pattern = re.compile(rf"(<!-- {mark}output -->\n```text\n)(.*?)(```)", re.S)
    if os.environ.get("UPDATE_CASES"):
        page.write_text(pattern.sub(lambda m: m[1] + shown + m[3], text), encoding="utf-8")
        return
    found = pattern.search(text)
    assert found is not None and found[2] == shown


class Narrow(Check):
    """A check as a test needs it."""

    title = "nothing"

    def look(self, plan: Any) -> Finding | None:
        return self.finding("info", "a note")


def test_a_finding_carries_the_name_of_its_check() -> None:
    """The class name is the slug."""
    found = Narrow().look(None)
    assert found is not None and found.slug == "narrow" and Narrow().blind(None) is None
