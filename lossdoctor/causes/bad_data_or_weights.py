from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.chance import known_chance, language_model
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy, Rule, Symptom
from lossdoctor.remedies import show_nan
from lossdoctor.signs import Signs

CTC = "https://huggingface.co/docs/transformers/model_doc/wav2vec2"
CTC_MODELS = ("wav2vec2", "hubert", "wavlm", "xls-r")
LOADING = "https://huggingface.co/docs/transformers/models"
SAMPLES = "https://github.com/TIGER-AI-Lab/MAmmoTH/issues/36"


@dataclass(eq=False, repr=False)
class BadDataOrWeights(Cause):
    """The data or the loaded weights contain NaN, infinite or absurd numbers.

    ## How we tell
    It stays when the precision is excluded: NaN in fp32, NaN from the very first row, or single NaN steps in a run that goes
    on. The log alone seldom proves it. A pretrained language model that begins at the loss of guessing was not loaded.

    ## What else it could be
    Almost everything else that gives NaN; exclude the precision and the attention kernel first.

    ## Remedies and their sources
    Dropping empty and non-finite samples ended the confirmed cases, one of them a single sample
    (https://github.com/TIGER-AI-Lab/MAmmoTH/issues/36). The filter of the log comes off, so that the step and with it the batch
    can be seen (https://huggingface.co/docs/transformers/main_classes/trainer). No learning rate helps here.
    """

    title = "NaN in the data or in the loaded weights"
    confirmed = 3
    decide_by = "check the loaded weights and one epoch of batches with torch.isfinite before the first step"

    #: Share of the loss of guessing from which on a pretrained model was not loaded.
    near: float = 0.85

    def weigh(self, chart: Chart) -> Opinion | None:
        signs = Signs(chart)
        if not signs.broken and (opinion := self._not_loaded(signs.uniform, chart)):
            return opinion
        if signs.eval_not_finite and not signs.broken and self._ctc(chart):
            return self._impossible_targets(chart)
        if (
            signs.unlabelled
            or signs.gradient in ("zero", "constant")
            or signs.rate_frozen
            or not (signs.broken or signs.scattered)
        ):
            return None
        opinion = Opinion(signs.witnesses or signs.scattered)
        if signs.precision == "fp32":
            opinion.add(3, say("no mixed precision is on, so nothing overflows by its format"))
        if signs.from_first_row and signs.broken and signs.rows > 1:
            opinion.add(1, say("there was never a good row"))
        if signs.scattered and not signs.broken:
            opinion.add(2, say("single steps fail and the run goes on: it depends on the batch"))
        what, name = signs.first_tensor
        if what == "input":
            opinion.add(6, say("the input {name} of the first bad batch is not finite before any module has seen it", name=name))
        elif what == "parameter":
            opinion.add(6, say("the weights of {name} were not finite in the first step", name=name))
        elif what:
            opinion.add(-2, say("inputs and weights of the first bad batch are finite"))
        if signs.text_model is False:
            opinion.add(1, say("images and audio are normalised by hand more often than text"))
        if not opinion.points:
            return None
        opinion.explanation = say(
            "A NaN or infinite value in one sample makes the loss of its batch NaN; in the loaded weights it "
            "makes every loss NaN. Both are independent of learning rate and precision."
        )
        return opinion

    def _not_loaded(self, uniform: Symptom | None, chart: Chart) -> Opinion | None:
        """A pretrained language model that knows nothing, or next to nothing, in its first row."""
        first, known = (
            chart.run.get("opening_loss") or chart.outline.first_loss,
            known_chance(chart.run, str(chart.run.get("task"))),
        )
        opinion = Opinion((uniform,) if uniform else ())
        if uniform:
            opinion.add(
                3,
                say(
                    "the loss is that of guessing among {answers:,.0f} tokens from the first row on",
                    answers=uniform.evidence["answers"],
                ),
            )
        elif known and first and known.kind == "tokens" and self.near * known.loss <= first <= 1.05 * known.loss:
            if chart.outline.begins_late or not language_model(chart.run):
                return None
            opinion.add(
                3,
                say(
                    "the first loss is {first:.4g}, nearly that of guessing among {answers:,} tokens ({loss:.4g})",
                    first=first,
                    answers=known.answers,
                    loss=known.loss,
                ),
            )
        else:
            return None
        opinion.explanation = say(
            "A pretrained model is far better than guessing before it is trained. One that is not has random "
            "weights: names in the checkpoint that do not match the model, an empty shard, a missing head. "
            "Training from scratch begins there."
        )
        return opinion

    @staticmethod
    def _ctc(chart: Chart) -> bool:
        """Whether speech is trained with a CTC loss."""
        words = chart.run.words("model_type", "model_name_or_path")
        return any("wer" in name for name in chart.outline.metrics) or any(name in words for name in CTC_MODELS)

    @staticmethod
    def _impossible_targets(chart: Chart) -> Opinion:
        opinion = Opinion(tuple(chart.all("eval-loss-not-finite")))
        opinion.add(3, say("the evaluation loss alone is not finite, in a run that is scored by its word errors"))
        opinion.explanation = say(
            "A CTC loss is infinite for a sample whose text has more letters than the sound has frames. One "
            "such sample in the evaluation set is enough; the weights are sound."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        signs = Signs(chart)
        if signs.eval_not_finite and not signs.broken and self._ctc(chart):
            why = say("samples that cannot be aligned then count nothing; or drop those with more letters than frames")
            return (Remedy(say("Let the CTC loss pass over them"), why, {"ctc_zero_infinity": True}, "none", (CTC,)),)
        if not Signs(chart).broken and not Signs(chart).scattered:
            why = say("from_pretrained names the weights that it did not find: only those that you added may be among them")
            return (
                Remedy(
                    say("Read the warnings of from_pretrained, and load the checkpoint by its own class"),
                    why,
                    {},
                    "none",
                    (LOADING,),
                ),
            )
        scene = chart.seen("tensor-not-finite")
        look = (
            say("lossdoctor/forensics-{onset}.json in the output folder has their indices and lengths", onset=scene.onset)
            if scene
            else ""
        )
        found = (
            (Remedy(say("Look at the examples of step {onset:,}", onset=scene.onset), look, {}, "none", (SAMPLES,)),)
            if scene
            else ()
        )
        return (
            *found,
            Remedy(
                say("Drop samples that are not finite or empty"),
                say("one of them is enough to lose a run"),
                {"dataset.filter": Rule(say("torch.isfinite(sample).all() and len(sample) > 0"))},
                "low",
                (SAMPLES,),
            ),
            *(() if scene else (show_nan(),)),
        )
