"""Puts together what is measured: the sample, the tokenizer, the labels, and the loss of one batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from lossdoctor.language import later, say
from lossdoctor.measured import Example, Measured, Unlabelled, Vocabulary
from lossdoctor.model import NotJudged, Run
from lossdoctor.probes.data import folder as folders
from lossdoctor.probes.data.opening import with_loss
from lossdoctor.probes.data.recipe import recipe_of, translates_roles
from lossdoctor.probes.data.sampling import Sample, drawn
from lossdoctor.probes.data.shapes import Content, Shape, content_of, empty, pictures
from lossdoctor.probes.data.tokens import Refused, Tokeniser, Tokens, measured, shortened
from lossdoctor.tasks import REINFORCEMENT, task_of_run

#: Every so many examples are made into tokens first, so that what is done when time is over is spread over all of them.
ROUNDS = 8
#: Characters that chat templates may render, each turn anew: some ten seconds.
MOST_RENDERED = 60_000_000
#: Sequences that are kept for the loss of one batch.
FOR_LOSS = 16

LABELS = later("labels and lengths of the examples")
OPENING = later("the loss of one batch")


def measure(model_path: Path | None, data: Path | None, run: Run) -> tuple[Measured, tuple[NotJudged, ...]]:
    """Everything that can be measured of the two, and what could not be, with the reason.

    Raises:
        LossDoctorError: one of them cannot be read.
    """
    sample = drawn(data) if data is not None else None
    found = _counted(run, sample) if sample else Measured(run=run)
    if model_path is None:
        return found, (NotJudged(say(LABELS), say("no --model-path with a tokenizer was given")),) if sample else ()
    with folders.offline():
        return _with_model(folders.opened(model_path), found, sample)


def _counted(run: Run, sample: Sample) -> Measured:
    rows = [row for _, row in sample.chosen]
    return Measured(
        run=run,
        source=sample.source,
        rows=sample.rows,
        looked=len(rows),
        shape=sample.shape.name if sample.shape else "",
        fingerprinted=sample.compared,
        repeated=sample.repeated,
        most_repeated=sample.most_repeated,
        first_repeated=sample.first_repeated,
        empty=sample.empty,
        first_empty=sample.first_empty,
        same_pairs=sample.same_pairs,
        pictures=pictures(rows),
    )


def _with_model(folder: folders.Folder, found: Measured, sample: Sample | None) -> tuple[Measured, tuple[NotJudged, ...]]:
    run = found.run
    folders.with_tokens_of(folder, run)
    weights = folders.weights_of(folder)
    brought = folders.brought_template(folder, run)
    vocabulary = folders.vocabulary_of(folder, brought, weights.size)
    found = replace(found, weights=weights, vocabulary=vocabulary)
    if sample is None:
        why = say("no --data was given")
        return found, (NotJudged(say(LABELS), why), NotJudged(say(OPENING), why))
    shape, why = sample.shape, _unmeasurable(folder, sample, vocabulary, run)
    if shape is None or why:
        return replace(found, unmeasured=why), (NotJudged(say(LABELS), why), NotJudged(say(OPENING), why))
    recipe = recipe_of(run, shape, getattr(folder.tokenizer, "truncation_side", "right"))
    tokeniser = Tokeniser(folder.tokenizer, vocabulary or Vocabulary(0), recipe, brought)
    found, kept = _tokenised(found, sample, shape, tokeniser)
    weights, why = with_loss(folder, weights, kept)
    notes = [NotJudged(say(OPENING), why)] if why else []
    if found.pictures:
        notes.append(NotJudged("truncation", say("the examples come with pictures, whose tokens are not counted")))
    if recipe.too_long == "packed":
        notes.append(NotJudged("truncation", say("packing cuts examples at boundaries of its own")))
    return replace(found, weights=weights), tuple(notes)


def _unmeasurable(folder: folders.Folder, sample: Sample, vocabulary: Vocabulary | None, run: Run) -> str:
    """Why nothing can be made into tokens; empty where it can."""
    names = str(folder.config.get("architectures"))
    if sample.shape is None:
        return say("the columns {columns} are none of the usual ones", columns=", ".join(sample.columns[:8]))
    if task_of_run(run) == REINFORCEMENT and sample.shape.name != "tokens":
        return say("in reinforcement learning the model makes its answers itself")
    if sample.shape.name == "prompts":
        return say("the examples are prompts without answers")
    if folder.config.get("is_encoder_decoder") or "Classification" in names or "ForMaskedLM" in names:
        return say("the model is a {model_type} that does not predict the next token", model_type=folder.config.get("model_type"))
    return folder.no_tokenizer if vocabulary is None and sample.shape.name != "tokens" else ""


def _tokenised(found: Measured, sample: Sample, shape: Shape, tokeniser: Tokeniser) -> tuple[Measured, list[Tokens]]:
    """The examples in tokens, and some sequences for the loss of a batch."""
    made = _Made(tokeniser)
    order = [one for start in range(ROUNDS) for one in sample.chosen[start::ROUNDS]]
    for number, row in order:
        content = content_of(row, shape, translates_roles(found.run))
        made.looked += 1
        if content is None or empty(content, shape):
            continue
        made.rendered += _characters(content)
        if made.rendered > MOST_RENDERED:
            made.looked -= 1
            break
        made.add(number, content)
    return made.told(found), made.kept


class _Made:
    """What became of the examples so far."""

    def __init__(self, tokeniser: Tokeniser) -> None:
        self.tokeniser = tokeniser
        self.examples: list[Example] = []
        self.kept: list[Tokens] = []
        self.roles: dict[str, None] = {}
        self.tails: Counter[tuple[int, ...]] = Counter()
        self.looked = self.rendered = self.refused = self.asked = self.said = 0
        self.refusal = ""

    def add(self, number: int, content: Content) -> None:
        tokeniser = self.tokeniser
        self.roles |= dict.fromkeys(_roles(content))
        asked, said = _asked(content)
        self.asked, self.said = self.asked + asked, self.said + said
        try:
            sequences = tokeniser.tokens(content)
        except Refused as error:
            self.refused, self.refusal = self.refused + 1, self.refusal or str(error)
            return
        if not all(sequence.ids for sequence in sequences):
            return
        why = _unlabelled(sequences, content, tokeniser)
        self.examples.append(measured(number, sequences, tokeniser.recipe, tokeniser.vocabulary, why))
        self.tails[tuple(sequences[0].ids[-2:])] += 1
        if len(self.kept) < FOR_LOSS:
            self.kept.append(shortened(sequences[0], tokeniser.recipe))

    def told(self, found: Measured) -> Measured:
        usual = max(self.tails, key=self.tails.__getitem__, default=())
        tokenizer = self.tokeniser.tokenizer
        return replace(
            found,
            recipe=self.tokeniser.recipe,
            examples=tuple(sorted(self.examples, key=lambda one: one.row)),
            looked=self.looked,
            refused=self.refused,
            refusal=self.refusal,
            roles=tuple(self.roles),
            prompt_share=self.asked / max(1, self.asked + self.said),
            usual_end=str(tokenizer.decode(list(usual))) if tokenizer is not None and usual else "",
        )


def _unlabelled(sequences: list[Tokens], content: Content, tokeniser: Tokeniser) -> Unlabelled:
    """Why a sequence has no label before it is shortened."""
    if all(any(sequence.labelled) for sequence in sequences):
        return ""
    if content.tokens:
        return "labels are -100"
    if tokeniser.recipe.labels == "marked" and not tokeniser.vocabulary.marks_answers:
        return "no markers"
    return "no assistant" if content.chat and "assistant" not in _roles(content) else "no answer"


def _roles(content: Content) -> list[str]:
    parts = [part for part in (content.prompt, content.answer) if isinstance(part, list)]
    return [str(message["role"]) for part in parts for message in part]


def _asked(content: Content) -> tuple[int, int]:
    """Characters of the prompts, and of the answers."""
    asked = said = 0
    for part, role in ((content.prompt, "user"), (content.answer, "assistant")):
        for message in part if isinstance(part, list) else [{"role": role, "content": part}]:
            size = len(str(message["content"]))
            asked, said = (asked, said + size) if message["role"] == "assistant" else (asked + size, said)
    return asked, said


def _characters(content: Content) -> int:
    """What rendering costs: every turn of the assistant renders all that was said before."""
    return (1 + 2 * sum(role == "assistant" for role in _roles(content))) * sum(_asked(content))
