from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import DataCheck
from lossdoctor.language import say
from lossdoctor.measured import Measured, part, percent
from lossdoctor.model import Finding, Remedy, Rule, Severity

SOURCES = ("https://huggingface.co/docs/trl/sft_trainer", "https://github.com/huggingface/trl/issues/6668")
DROPPED = ("https://github.com/axolotl-ai-cloud/axolotl/pull/3068",)
_NAMES = {"LLaMA-Factory": "cutoff_len", "axolotl": "sequence_len"}


@dataclass(eq=False, repr=False)
class ExamplesTruncated(DataCheck):
    """Many examples are longer than `max_length` and lose their end.

    ## What it looks at
    The length in tokens of a sample of the examples, before and after they are shortened as the trainer does.

    ## Why it matters
    Truncation cuts where the answer ends: such an answer teaches half a thought and no end token, so that the model goes on and
    on. axolotl drops examples that are too long, and the run has fewer than it seems.

    ## What it misses
    Examples with pictures, whose tokens are not counted, and packing, which cuts at boundaries of its own.
    """

    title = "examples that are cut off"
    #: Share of the examples that lose a part of their answer, from which it is worth a note or a warning.
    share_to_tell: float = 0.01
    share_to_warn: float = 0.1
    #: Share of the tokens of plain text that are thrown away, from which it is worth a warning.
    tokens_to_warn: float = 0.2

    def look(self, measured: Measured) -> Finding | None:
        recipe, examples = measured.recipe, measured.examples
        cut = [example for example in examples if example.cut and not example.why]  # those without a label are told by themselves
        share = measured.share(len(cut))
        if recipe.max_length is None or len(cut) < 2 or share < self.share_to_tell:
            return None
        lost = 1 - sum(example.kept for example in examples) / sum(example.tokens for example in examples)
        answers = sum(example.answer_cut for example in cut)
        plain = measured.shape in ("text", "tokens")
        bad = lost >= self.tokens_to_warn if plain else measured.share(answers) >= self.share_to_warn
        severity: Severity = "warning" if bad and measured.run.get("max_length") is not None else "info"
        name = _NAMES.get(recipe.tool, "max_length")
        count = part(len(cut), len(examples))
        what = say(
            "{count} are longer than the {max_length:,} tokens of {name}", count=count, max_length=recipe.max_length, name=name
        )
        if recipe.too_long == "dropped":
            message = say("{what}, and axolotl drops them", what=what)
        elif plain or not answers:
            message = say("{what} and are cut: {lost} of all tokens are lost", what=what, lost=percent(lost))
        else:
            message = say(
                "{what}: {answers:,} lose a part of their answer, and {lost} of all tokens are lost",
                what=what,
                answers=answers,
                lost=percent(lost),
            )
        room, longest = measured.length_for(0.99), max(example.tokens for example in examples)
        fits = say(
            "{room:,} tokens would keep 99% of the examples whole; the longest has {longest:,}", room=room, longest=longest
        )
        return self.finding(severity, message, measured.basis, recipe.length_from, fits, remedies=_remedies(measured, name, room))


def _remedies(measured: Measured, name: str, room: int) -> tuple[Remedy, ...]:
    positions = measured.weights.positions if measured.weights else None
    sources = DROPPED if measured.recipe.tool == "axolotl" else SOURCES
    if positions is not None and room > positions:
        change = {"dataset.map": Rule(say("long examples split into parts of at most {positions:,} tokens", positions=positions))}
        return (
            Remedy(
                say("Split the long examples"),
                say("the model has {positions:,} positions", positions=positions),
                change,
                "low",
                sources,
            ),
        )
    why = say("activations take memory in proportion to the length of the longest example of a batch")
    do = say("Raise {name} to {room:,}, which keeps 99% of the examples whole", name=name, room=room)
    return (Remedy(do, why, {"max_length": room}, "medium", sources),)
