"""What the reports on a configuration say, in plain strings, and which formats there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossdoctor.language import counted, say
from lossdoctor.learning_rates import short
from lossdoctor.model import Finding, LossDoctorError, Remedy
from lossdoctor.plan import Plan, Quantity
from lossdoctor.reports import ENDINGS, Look, words
from lossdoctor.slips import numbered

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport

#: Findings with evidence and remedies, findings and notes that are shown at all; more of them would be a wall of advice.
IN_FULL, MOST_FINDINGS, MOST_NOTES = 4, 8, 3


@dataclass(frozen=True)
class Shown:
    """A finding as it is shown: its remedies without those that one before it has named; of many only the first are `full`."""

    finding: Finding
    evidence: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    full: bool = False


def name(report: CheckReport) -> str:
    """What the configuration is called."""
    return report.run.title or say("this configuration")


def verdict(report: CheckReport) -> str:
    """The outcome in one sentence."""
    alarming = [finding for finding in report.findings if finding.severity != "info"]
    if alarming:
        more = say(" {number_of_alarming} more below.", number_of_alarming=len(alarming) - 1) if len(alarming) > 1 else ""
        return _sentence(alarming[0].message) + more
    if report.verdict == "insufficient":
        return say("Too little is stated to judge anything.")
    notes = len(report.findings)
    if notes:
        return say("Nothing wrong found in this configuration; {notes}.", notes=counted(notes, "note"))
    return say("Nothing wrong found in this configuration.")


def _sentence(said: str) -> str:
    """With a full stop, and a capital unless it begins with a name."""
    first = said.partition(" ")[0]
    return said + "." if not first.isalpha() else words.sentence(said)


def shown(report: CheckReport) -> list[Shown]:
    """The findings to show in full, the worst first, each remedy where it is named first."""
    told: list[Remedy] = []
    found: list[Shown] = []
    for finding in [finding for finding in report.findings if finding.severity != "info"][:MOST_FINDINGS]:
        fresh = [remedy for remedy in finding.remedies if not any(remedy.settings == other.settings for other in told)]
        told += [remedy for remedy in fresh if remedy.settings]
        evidence = tuple(words for words in finding.because if words != report.looked_at)
        found.append(Shown(finding, evidence, tuple(fresh), full=len(found) < IN_FULL))
    notes = [finding for finding in report.findings if finding.severity == "info"]
    return found + [Shown(note) for note in notes[:MOST_NOTES]]


def left_out(report: CheckReport) -> str:
    """What there is besides, by name; nothing where everything is shown."""
    there = {one.finding.slug for one in shown(report)}
    rest = [finding.slug for finding in report.findings if finding.slug not in there]
    return say("and {number_of_rest} more: {rest}", number_of_rest=len(rest), rest=", ".join(rest)) if rest else ""


def plan_lines(report: CheckReport) -> list[tuple[str, str]]:
    """The plan in a few lines: what the run comes to, what that was worked out from, and which examples were looked at."""
    plan = report.plan
    lines = [
        (say("batch"), _quantity(plan.effective_batch, "examples in one step")),
        (say("steps"), _steps(plan)),
        (say("warm-up"), _warmup(plan)),
        (say("rate"), _rate(plan)),
        (say("precision"), _precision(plan)),
        (say("adapter"), _adapter(plan)),
        (say("data"), report.looked_at),
    ]
    return [(what, said) for what, said in lines if said]


def _quantity(quantity: Quantity | None, unit: str) -> str:
    if quantity is None:
        return ""
    how = "" if quantity.stated else f" ({quantity.how})"
    return f"{numbered(quantity.whole, unit)}{how}" + _assumed(quantity)


def _assumed(quantity: Quantity) -> str:
    return say("; taken as usual: {assumed}", assumed=", ".join(quantity.assumed)) if quantity.assumed else ""


def _steps(plan: Plan) -> str:
    if plan.total_steps is None:
        return numbered(plan.epochs.value, "epochs") if plan.epochs else ""
    if not plan.total_steps.stated:
        return f"{plan.total_steps.whole:,} ({plan.total_steps.how})"
    return f"{plan.total_steps.how}" + (f" ({numbered(plan.epochs.value, 'epochs')})" if plan.epochs else "")


def _warmup(plan: Plan) -> str:
    if plan.warmup is None or plan.warmup.whole <= 0 or plan.get("lr_scheduler_type") == "constant":
        return ""
    steps = numbered(plan.warmup.whole, "steps")
    if plan.total_steps is not None and plan.warmup.value >= plan.total_steps.value:
        return say(
            "{steps}, {choice} the run has",
            steps=steps,
            choice=say("more than") if plan.warmup.value > plan.total_steps.value else say("as many as"),
        )
    share = (
        say(", {warmup_value:.0%} of the run", warmup_value=plan.warmup.value / plan.total_steps.value)
        if plan.total_steps
        else ""
    )
    return f"{steps}{share}"


def _rate(plan: Plan) -> str:
    rate, schedule = plan.get("learning_rate"), plan.get("lr_scheduler_type")
    if not isinstance(rate, (int, float)):
        return ""
    parts = [short(rate) if rate > 0 else "0", *([str(schedule)] if schedule else [])]
    if plan.rates is not None and plan.rates.last < 0.99 * plan.rates.peak:
        parts.append(say("to {last} in the last step", last=short(plan.rates.last)))
    return ", ".join(parts)


def _precision(plan: Plan) -> str:
    more = [str(plan.get(name)) for name in ("quantization",) if plan.get(name)]
    return say(" on weights in ").join([plan.precision or say("not stated"), *more]) if plan.precision or more else ""


def _adapter(plan: Plan) -> str:
    rank = plan.get("lora_r")
    if not isinstance(rank, int):
        return ""
    scale = plan.adapter_scale
    return say("rank {rank}", rank=rank) + (
        say(", scale {scale_value} ({scale_how})", scale_value=short(float(f"{scale.value:.3g}")), scale_how=scale.how)
        if scale and scale.value
        else ""
    )


def _text(report: CheckReport, look: Look) -> str:
    from lossdoctor.reports.checkup_text import render

    return render(report, color=look.color, width=look.width)


def _json(report: CheckReport, look: Look) -> str:
    from lossdoctor.reports.checkup_json import render

    return render(report)


def _markdown(report: CheckReport, look: Look) -> str:
    from lossdoctor.reports.checkup_markdown import render

    return render(report)


def _html(report: CheckReport, look: Look) -> str:
    from lossdoctor.reports.checkup_html import render

    return render(report)


def _github(report: CheckReport, look: Look) -> str:
    from lossdoctor.reports.checkup_ci import github

    return github(report)


def _junit(report: CheckReport, look: Look) -> str:
    from lossdoctor.reports.checkup_ci import junit

    return junit(report, look.fail_on)


#: Format name → renderer; each is imported when it is used.
FORMATS: dict[str, Callable[[CheckReport, Look], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "html": _html,
    "github": _github,
    "junit": _junit,
}


def render(report: CheckReport, output_format: str, look: Look) -> str:
    """The report in one of the formats.

    Raises:
        LossDoctorError: there is no such format for a configuration.
    """
    if output_format not in FORMATS:
        raise LossDoctorError(f"a configuration is told as {', '.join(FORMATS)}, not as {output_format}")
    return FORMATS[output_format](report, look)


def save(report: CheckReport, file: Path, output_format: str | None = None, look: Look | None = None) -> None:
    """Writes the report to a file, in the format that is given, or that the ending of its name says, or else as text.

    Raises:
        LossDoctorError: the file cannot be written, or there is no such format.
    """
    wanted = output_format or ENDINGS.get(file.suffix.lower(), "text")
    content = render(report, wanted, look or Look(color=False))
    try:
        file.write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise LossDoctorError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from None
