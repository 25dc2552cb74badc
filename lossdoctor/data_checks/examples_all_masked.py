from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Example, Measured, part
from lossdoctor.model import Finding, Remedy, Rule, Severity

CUT = ("https://github.com/huggingface/trl/issues/6668", "https://github.com/zjysteven/lmms-finetune/issues/45")
MARKERS = ("https://github.com/huggingface/trl/pull/4201",)
TEMPLATE = ("https://github.com/huggingface/trl/issues/588", "https://github.com/huggingface/transformers/issues/27733")
EMPTY = ("https://github.com/TIGER-AI-Lab/MAmmoTH/issues/36",)


@dataclass(eq=False, repr=False)
class ExamplesAllMasked(DataCheck):
    """No token of some examples has a label.

    ## What it looks at
    The labels of a sample of the examples, made as the run would make them, and what is left of them at `max_length`.

    ## Why it matters
    A cross-entropy over no tokens is NaN with a gradient of 0. Where all are masked the log shows zeros and nothing is learned;
    where some are, their share of the work is lost, and a batch of such examples alone logs 0.0.

    ## What it misses
    Masks that a script makes by itself, such as those of a collator with a response template.
    """

    title = "examples without a label"
    #: Share from which the run teaches little or nothing, and from which it is worth a warning if there are several.
    share_to_stop: float = 0.5
    share_to_warn: float = 0.01

    def look(self, measured: Measured) -> Finding | None:
        masked = [example for example in measured.examples if not example.kept_labelled and example.why]
        if not masked:
            return None
        share = measured.share(len(masked))
        severity: Severity = "warning" if share >= self.share_to_warn and len(masked) > 1 else "info"
        why = Counter(example.why for example in masked).most_common(1)[0][0]
        assumed = why == "the prompt fills the length" and measured.run.get("max_length") is None
        if share >= self.share_to_stop:
            severity = "warning" if assumed else "critical"
        words, remedies = _reason(why, measured, masked)
        examples = part(len(masked), len(measured.examples))
        return self.finding(
            severity,
            say("no token has a label in {replace}: {words}", replace=examples.replace("all", "any of", 1), words=words),
            measured.basis,
            say("labels: {labels_from}", labels_from=measured.recipe.labels_from),
            say("the first of them is example {row:,}", row=masked[0].row),
            *([measured.recipe.length_from] if why == "the prompt fills the length" else []),
            remedies=remedies,
        )


def _reason(why: str, measured: Measured, masked: list[Example]) -> tuple[str, tuple[Remedy, ...]]:
    if why == "the prompt fills the length":
        return _cut(measured)
    if why == "no markers":
        words = say("the chat template has no {% generation %}, which assistant_only_loss needs to find the answers")
        do = say("Put {% generation %} … {% endgeneration %} around the assistant's words in the chat template")
        path = {"chat_template_path": Rule(say("a chat template with {% generation %}"))}
        return words, (
            Remedy(do, say("without these marks the mask of the assistant is empty"), path, "low", MARKERS),
            Remedy(
                say("Train on all tokens"),
                say("prompts are then learned as well"),
                {"assistant_only_loss": False},
                "low",
                MARKERS,
                True,
            ),
        )
    if why == "no assistant":
        roles = ", ".join(measured.roles[:4]) or "none"
        change = {"dataset.map": Rule(say("roles renamed to system, user and assistant"))}
        return say("no message is the assistant's; the roles are {roles}", roles=roles), (
            Remedy(
                say("Rename the roles to user and assistant"),
                say("masks look for the assistant by its name"),
                change,
                "none",
                TEMPLATE,
            ),
        )
    if why == "labels are -100":
        change = {"response_template": Rule(say("token ids cut from a tokenised example"))}
        return say("all their labels are -100 in the data already"), (
            Remedy(
                say("Make the labels anew"),
                say("a template that is not found in the tokens masks everything"),
                change,
                "low",
                TEMPLATE,
            ),
        )
    change = {"dataset.filter": Rule(say("examples whose answer is not empty"))}
    return say("their answer has no tokens"), (
        Remedy(say("Drop these examples"), say("they teach nothing"), change, "none", EMPTY),
    )


def _cut(measured: Measured) -> tuple[str, tuple[Remedy, ...]]:
    length, room = measured.recipe.max_length or 0, measured.length_for(0.99)
    positions = measured.weights.positions if measured.weights else None
    words = say("their prompts fill the {length:,} tokens of max_length, and the answers are cut off", length=length)
    drop = {"dataset.filter": Rule(say("examples whose prompt is shorter than {length:,} tokens", length=length))}
    dropped = Remedy(say("Drop the examples that it empties"), say("they teach nothing"), drop, "none", CUT, alternative=True)
    if positions is not None and room > positions:
        return words, (
            Remedy(
                say("Drop or shorten these examples"),
                say("the model has {positions:,} positions", positions=positions),
                drop,
                "low",
                CUT,
            ),
        )
    do = say("Raise max_length to {room:,}, which keeps 99% of the examples whole", room=room)
    return words, (Remedy(do, say("truncation cuts where the answer is"), {"max_length": room}, "medium", CUT), dropped)
