from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Cause, Opinion
from lossdoctor.chance import language_model
from lossdoctor.language import say
from lossdoctor.model import Chart, Remedy, Symptom
from lossdoctor.signs import Signs


@dataclass(eq=False, repr=False)
class WrongMaskOrTemplate(Cause):
    """The labels are not what the model was asked for: padding, another tokenizer, another template.

    ## How we tell
    The first loss is above that of guessing, and the evaluation loss as well: the model is sure of what comes next, and the
    labels say something else. Padding that is scored, labels shifted twice, or ids of another tokenizer do that. Inside a
    Trainer the labels of the first examples are held against their tokens and their mask, so that a shift and labels on padding
    are seen.

    ## What else it could be
    Most wrong masks and templates give a loss that looks fine: that is not visible in a log at all. New embedding rows start
    as high and fall fast; a loss summed over accumulation steps is higher by exactly their number.

    ## Remedies and their sources
    Padding gets -100, which cross-entropy leaves out (https://huggingface.co/docs/transformers/main_classes/data_collator), and
    the collator of the model's own chat template makes the labels (https://huggingface.co/docs/trl/sft_trainer). Shifting is
    the model's own work: labels that are shifted before are wrong by one.
    """

    title = "labels that do not fit the model"
    confirmed = 3
    decide_by = "print tokenizer.decode of the labels (without -100) of one batch: is it the answer, once, without padding?"

    #: Fine-tunes of a pretrained language model on text seldom begin above this.
    high: float = 3.5
    #: No text is predicted that well before it comes again.
    easy: float = 0.15
    once: float = 1.0
    #: Share of padding among the tokens with a label from which on it counts.
    padding: float = 0.1

    def weigh(self, chart: Chart) -> Opinion | None:
        opening = chart.seen("opening-loss-above-chance")
        if Signs(chart).broken:
            return None
        if chart.run.get("labels_shifted") is True:
            return self._shifted(opening)
        if (chart.run.get("padding_scored") or 0.0) >= self.padding:
            return self._padding(chart, opening)
        if opening is None:
            return self._too_easy(chart) or self._level(chart)
        opinion = Opinion((opening,))
        opinion.add(2, say("the model is confident, and the labels say something else"))
        if opening.open:
            opinion.add(
                1, say("the loss is still above guessing at step {last:,}: the labels must be learned anew", last=opening.last)
            )
        else:
            opinion.add(
                -1, say("the loss was below guessing by step {last:,}, faster than wrong labels are learned", last=opening.last)
            )
        opinion.explanation = say(
            "The labels hold padding or special tokens, ids of another tokenizer, or are shifted by one. The "
            "run then learns these, and the loss falls as if all were well."
        )
        return opinion

    @staticmethod
    def _shifted(opening: Symptom | None) -> Opinion:
        """Labels that were seen to be those of the next token already, given to a model that shifts them."""
        opinion = Opinion((opening,) if opening else ())
        opinion.add(9, say("the label of each token is the next token already, and the model shifts labels once more"))
        opinion.explanation = say(
            "A language model of transformers holds the output at each token against the label of the next one. Labels that are "
            "shifted before teach it the token after the next, which no generation asks for."
        )
        return opinion

    @staticmethod
    def _padding(chart: Chart, opening: Symptom | None) -> Opinion:
        """Padding that was seen to have labels."""
        opinion = Opinion((opening,) if opening else ())
        share = chart.run.get("padding_scored")
        opinion.add(7, say("{share:.0%} of the tokens that have a label are padding", share=share))
        opinion.explanation = say(
            "Padding is the same every time and soon learned. It makes the loss look better than the answers are, and takes as "
            "large a share of the gradient as it has of the tokens."
        )
        return opinion

    def _too_easy(self, chart: Chart) -> Opinion | None:
        """A language model that predicts nearly everything long before it has seen the data twice."""
        outline, epochs = chart.outline, chart.outline.epochs or chart.run.get("num_train_epochs") or self.once
        first, last = outline.first_loss or 0.0, outline.last_loss or 0.0
        if not language_model(chart.run) or Signs(chart).broken or outline.rows < 3 or epochs > self.once or outline.begins_late:
            return None
        if first < 1.0 or not 0 < last < self.easy:
            return None
        near = chart.seen("loss-near-zero")
        opinion = Opinion((near,) if near else ())
        opinion.add(
            2,
            say(
                "the loss fell from {first:.3g} to {last:.2g} before the data was seen twice: text is never that predictable",
                first=first,
                last=last,
            ),
        )
        if first > self.high:
            opinion.add(1, say("it began at {first:.3g}: what is scored was strange to the model, and then trivial", first=first))
        opinion.explanation = say(
            "Most of the tokens that are scored are the same every time: padding, special tokens or fixed "
            "words of a template. Their loss fades within a few dozen steps and hides that of the answers."
        )
        return opinion

    def _level(self, chart: Chart) -> Opinion | None:
        """A pretrained language model that stays at a loss far above that of ordinary text."""
        flat, outline = chart.seen("loss-plateau"), chart.outline
        if flat is None or not language_model(chart.run) or Signs(chart).broken or not outline.first_loss or not outline.level:
            return None
        if min(outline.first_loss, outline.level) < self.high:
            return None
        opinion = Opinion((flat,))
        opinion.add(
            2,
            say(
                "the loss stays at {level:.2g}: a fine-tune of a good model on text starts between 0.5 and 3", level=outline.level
            ),
        )
        opinion.explanation = say(
            "The tokens that are scored are hard to predict for a model that knows the language: a chat "
            "template that is not its own, answers that do not belong to their prompts, special tokens or "
            "padding among the labels."
        )
        return opinion

    def remedies(self, chart: Chart) -> tuple[Remedy, ...]:
        if chart.run.get("labels_shifted") is True:
            return (
                Remedy(
                    say("Make the labels a copy of the input ids, with -100 where nothing is to be learned"),
                    say("the model shifts labels by itself, so they must not be shifted beforehand"),
                    {"labels": "input_ids"},
                    "none",
                    ("https://huggingface.co/docs/transformers/tasks/language_modeling",),
                ),
            )
        if chart.run.get("num_labels"):
            return (
                Remedy(
                    say("Check that the labels count from 0 in the order of config.id2label"),
                    say("a classifier has one label for each example; a class that is called by another number is another class"),
                    {},
                    "low",
                    ("https://huggingface.co/docs/transformers/tasks/sequence_classification",),
                ),
            )
        return (
            Remedy(
                say("Give padding the label -100"),
                say("cross-entropy ignores it; pad_token_id as a label is scored like text"),
                {"label_pad_token_id": -100},
                "none",
                ("https://huggingface.co/docs/transformers/main_classes/data_collator",),
            ),
            Remedy(
                say("Let the collator of the model's own tokenizer and chat template make the labels"),
                say("the model shifts labels by itself, so they must not be shifted beforehand"),
                {},
                "low",
                ("https://huggingface.co/docs/trl/sft_trainer",),
            ),
        )
