from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.chance import cross_entropy
from lossdoctor.language import later, say
from lossdoctor.model import Chart, Remedy, Rule, Symptom
from lossdoctor.signs import Signs
from lossdoctor.tasks import PREFERENCE

NO_LABELS = later(
    "The loss is averaged over the tokens that have a label. Here there are none: the answer was cut "
    "off by max_length, the response template was not found in the tokens, or the chat template "
    "marks nothing as the assistant's. The mean over nothing is NaN, its gradient 0, and the log "
    "shows 0.0."
)
SOME_LABELS = later(
    "The loss is averaged over the tokens that have a label, and some batches have none: their "
    "answers were cut off by max_length, or their template was not found. The mean over nothing is "
    "NaN or 0, the log hides it, and such a batch teaches nothing."
)
SOME_BATCHES = later(
    "A mean over no labelled tokens is NaN. One evaluation batch whose answers were all cut off by "
    "max_length, or whose template was not found, makes the whole evaluation loss NaN; the training "
    "is not touched by it."
)
MOSTLY_CUT = later(
    "Prompts fill nearly all of max_length, and the answers are cut off after their first words. The loss falls, since few "
    "tokens are soon learned, and the model never sees how an answer goes on or ends."
)
TEMPLATE_SOURCES = ("https://github.com/huggingface/trl/issues/588", "https://github.com/huggingface/transformers/issues/27733")


@dataclass(eq=False, repr=False)
class NoSupervisedTokens(Cause):
    """No token of a batch has a label: all are -100; or next to none has one.

    ## How we tell
    Loss and gradient norm are both exactly 0 from the first row: a mean over no tokens is NaN with a gradient of exactly 0.
    When only some batches are concerned, single rows are 0.0 with a zero gradient, or the evaluation loss alone is NaN.
    Inside a Trainer the first examples are looked at: how many are cut off, how many of their tokens have a label, and whether
    the collator's response template is in them. Answers of which next to nothing is left are told of as well.

    ## What else it could be
    Frozen parameters: there the loss is normal. NaN weights: there the gradient norm is NaN, not 0. Reinforcement learning,
    where zero loss and zero gradient are ordinary.

    ## Remedies and their sources
    More room ended the confirmed cases where images or prompts filled the length
    (https://github.com/zjysteven/lmms-finetune/issues/45, https://github.com/huggingface/trl/issues/6668), and token ids taken
    from a real example those where the response template was not found (https://github.com/huggingface/trl/issues/588,
    https://github.com/huggingface/transformers/issues/27733). Rows without an answer are to be dropped: one of them is enough
    for a NaN.
    """

    title = "every label is masked"
    confirmed = 6
    decide_by = "print one batch: (batch['labels'] != -100).sum(dim=1) must be above 0 in every row"
    short: int = 1024
    #: Share of the examples that are cut off, and of their tokens that have a label, which leave next to nothing of the answers.
    cut: float = 0.8
    left: float = 0.25

    def weigh(self, chart: Chart) -> Opinion | None:
        return self._mostly_cut(chart) or self._masked_entirely(chart)

    def _mostly_cut(self, chart: Chart) -> Opinion | None:
        """Examples that were seen to end soon after their prompts."""
        cut, left = chart.run.get("rows_cut"), chart.run.get("answer_share")
        if cut is None or not left or cut < self.cut or left > self.left or _missing(chart):
            return None
        opinion = Opinion(())
        opinion.add(4, say("{cut:.0%} of the first examples are cut off at the same length, before their end", cut=cut))
        opinion.add(3, say("only {left:.0%} of their tokens have a label: the beginnings of answers", left=left))
        opinion.explanation = say(MOSTLY_CUT)
        return opinion

    def named(self, chart: Chart) -> str:
        return say("hardly any label is left of the answers") if self._mostly_cut(chart) else say(self.title)

    def _masked_entirely(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        symptoms = [s for s in chart.symptoms if s.slug not in ("skipped-steps", "learning-rate-zero")]
        if not symptoms or signs.text_model is False or signs.gradient in ("not finite", "constant"):
            if not (chart.outline.reward_nan and chart.run.get("task") == PREFERENCE):
                return None
        masked = chart.seen("labels-all-masked")
        if signs.labels_there and not masked:
            return None
        opinion = Opinion(tuple(signs.witnesses) + tuple(signs.scattered))
        if masked and masked.open:
            opinion.because = (masked, *opinion.because)
            self._masked(masked, signs.unlabelled, opinion)
        elif signs.collapse and signs.from_first_row and signs.gradient == "absent":
            opinion.add(2, say("the loss is 0.0 from the first row on"))
        elif any(s.evidence.get("gradient_zero_rows") for s in signs.scattered):
            opinion.add(3, say("the rows of loss 0.0 have a gradient of exactly 0"))
        elif any(s.slug == "hidden-nan-steps" and not s.evidence.get("inflated_rows") for s in signs.scattered):
            opinion.add(1, say("single steps have a gradient of exactly 0"))
        elif signs.eval_not_finite and not signs.broken:
            if any("wer" in name for name in chart.outline.metrics) or not cross_entropy(chart.run):
                return None  # a CTC loss has labels, and other reasons to be infinite
            trained = say("training is sound and only") if chart.outline.rows else say("nothing but")
            opinion.add(
                2, say("{trained} the evaluation loss is NaN: some evaluation batches may have no labels", trained=trained)
            )
        elif chart.outline.reward_nan and chart.run.get("task") == PREFERENCE:
            opinion.add(2, say("the log probabilities are NaN: the mean over the tokens of an answer that was cut off entirely"))
        elif chart.seen("loss-not-finite") and signs.gradient == "absent":
            opinion.add(1, say("a single batch without labels gives a single NaN"))
        if not opinion.points:
            return None
        length = chart.run.get("max_length")
        if isinstance(length, str) or (isinstance(length, (int, float)) and 0 < length <= self.short):
            opinion.add(1, say("max_length is {length}: prompts may fill it and push the answers out", length=length))
        if signs.text_model and ("sft" in signs.framework or "trl" in signs.framework):
            opinion.add(1, say("the trainer masks prompts, and masks everything when it finds no answer"))
        if signs.precision == "fp16" and not masked:
            opinion.add(-1, say("fp16 is on: an overflow looks the same without a gradient norm"))
        some = masked and masked.evidence.get("batches", 0.0) < masked.evidence.get("batches_so_far", 0.0)
        opinion.explanation = (
            say(SOME_LABELS) if some else say(SOME_BATCHES) if signs.eval_not_finite and not signs.broken else say(NO_LABELS)
        )
        return opinion

    @staticmethod
    def _masked(masked: Symptom, explains: bool, opinion: Opinion) -> None:
        """What the labels themselves say, or the zeros that follow from them."""
        if "batches" not in masked.evidence:
            opinion.add(6, say("loss and gradient are exactly 0 from the first row on"))
            return
        batches, of = masked.evidence["batches"], masked.evidence["batches_so_far"]
        opinion.add(
            6 if masked.severity == "critical" else 4,
            say("no token has a label in {batches:.0f} of {of:.0f} micro-batches", batches=batches, of=of),
        )
        if explains:
            opinion.add(3, say("and each micro-batch with a NaN loss is one of them"))

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        longer, template = _longer(chart), _template(chart)
        if self._mostly_cut(chart):
            return (longer,)
        whole = (chart.run.get("rows_cut") or 0.0) < 1 and _missing(chart)
        return (template, longer) if whole or chart.run.get("response_template_in_context") else (longer, template)


def _missing(chart: Chart) -> bool:
    """Whether the response template was seen to be missing in most of the first examples, of those that are whole if any is."""
    found = chart.run.get("response_template_found")
    return found is not None and found < 0.5


def _longer(chart: Chart) -> Remedy:
    """More room, as far as the model has positions for it."""
    length, positions = chart.run.get("max_length"), chart.run.get("positions")
    longer: object = Rule(say("long enough for prompt and answer"))
    if isinstance(length, int):
        longer = min(4 * length, positions) if isinstance(positions, int) and positions > 0 else 4 * length
        if longer <= length:
            return Remedy(
                say("Drop or shorten the examples whose prompts leave no room for an answer"),
                say("the model has {positions:,} positions, and max_length takes all of them", positions=positions),
                {"dataset.filter": Rule(say("examples whose prompt is shorter than {length:,} tokens", length=length))},
                "low",
                ("https://github.com/huggingface/trl/issues/6668",),
            )
    return Remedy(
        say("Raise max_length above the longest prompt, or drop the rows it empties"),
        say("truncation cuts from the right, where the answer is"),
        {"max_length": longer},
        "low",
        ("https://github.com/huggingface/trl/issues/6668", "https://github.com/zjysteven/lmms-finetune/issues/45"),
    )


def _template(chart: Chart) -> Remedy:
    """A response template that is found: the part of it that was seen in the examples, where there is one."""
    part = chart.run.get("response_template_in_context")
    if part:
        return Remedy(
            say("Give the response template as the tokens that it has in the examples"),
            say("its last or first token is another one beside other text; without it the rest stands once in each example"),
            {"response_template": part},
            "none",
            TEMPLATE_SOURCES,
        )
    if _missing(chart) and chart.run.get("completion_only_loss"):
        return Remedy(
            say("Learn from whole examples until the response template is mended: hardly any example has it"),
            say("prompts are then learned as well, which costs little"),
            {"completion_only_loss": False},
            "low",
            TEMPLATE_SOURCES,
        )
    return Remedy(
        say("Make the response template match its tokens in context"),
        say("the same text tokenises differently after other text; pass token ids taken from a real example"),
        {"response_template": Rule(say("token ids cut from a tokenised example"))},
        "low",
        TEMPLATE_SOURCES,
    )
