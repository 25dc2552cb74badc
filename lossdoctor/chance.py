"""The loss of a model that gives every answer the same probability: ln(number of answers)."""

from __future__ import annotations

from math import log
from typing import NamedTuple

from lossdoctor.families import billions, vocabulary_of
from lossdoctor.language import later
from lossdoctor.model import Run
from lossdoctor.tasks import PREFERENCE, adapter

#: Vocabulary sizes of public model families, and the powers of two that toy models use. Source: their `config.json`.
VOCABULARIES = (
    *(2**power for power in range(8, 18)),
    *(28996, 30522, 32000, 32001, 32064, 32100, 32128, 49152, 50257, 50265, 50272, 50280, 50304, 51200, 64000, 65024),
    *(92416, 92544, 100277, 100352, 119547, 128256, 129280, 151552, 151643, 151936, 152064, 250002, 250112, 250880),
    *(256000, 257152, 262144, 262208),
)
#: More classes lie so close together that some logarithm of theirs is always near.
MOST_CLASSES = 4
#: A vocabulary further away than this is not the nearest but the next larger one: models do better than chance, not worse.
NEAR = 0.003
#: Losses of these are sums over frames, distances or likelihood ratios: ln(vocabulary) means nothing for them.
NOT_CROSS_ENTROPY = ("wav2vec2", "hubert", "wavlm", "unispeech", "sew", "data2vec-audio", "ctc", "vits", "vit_mae", "diffusion")


class Chance(NamedTuple):
    """A loss at which nothing is known: `answers` equally likely ones, and how we know their number."""

    loss: float
    answers: int
    known: bool
    kind: str


def cross_entropy(run: Run) -> bool:
    """Whether the loss may be a mean cross-entropy over the vocabulary or the classes."""
    words = run.words("model_type", "model_name_or_path", "problem_type")
    return run.get("num_labels") != 1 and not any(name in words for name in (*NOT_CROSS_ENTROPY, "regression"))


def language_model(run: Run) -> bool:
    """Whether the facts say that text is generated rather than classified."""
    words = run.words("trainer", "framework")
    generates = any(name in words for name in ("sft", "llama", "axolotl", "swift", "causal"))
    if generates or run.get("num_labels") is not None:
        return generates
    size = billions(run) or 0.0
    return vocabulary_of(run) is not None or size >= (1.0 if adapter(run) else 0.1 if run.get("vocab_size") else 1e9)


def known_chance(run: Run, task: str) -> Chance | None:
    """From the facts: the two answers of a preference pair, the classes of a classifier, the vocabulary of a language model."""
    if task == PREFERENCE:
        return Chance(log(2), 2, True, later("answers of a pair"))
    if not cross_entropy(run):
        return None
    labels, vocabulary = run.get("num_labels"), run.get("vocab_size") or vocabulary_of(run)
    if isinstance(labels, (int, float)) and labels >= 2:
        return Chance(log(labels), int(labels), True, later("classes"))
    if isinstance(vocabulary, (int, float)) and vocabulary >= 2:
        return Chance(log(vocabulary), int(vocabulary), True, later("tokens"))
    return None


def nearest_chance(loss: float, run: Run) -> Chance | None:
    """The number of classes or the vocabulary that `loss` would be chance for, where nothing is known."""
    if loss <= 0 or not cross_entropy(run):
        return None
    above = [Chance(log(k), k, False, "tokens") for k in VOCABULARIES if log(k) >= loss]
    classes = [Chance(log(k), k, False, "classes") for k in range(2, MOST_CLASSES + 1)]
    tokens = [Chance(log(k), k, False, "tokens") for k in VOCABULARIES]
    if language_model(run):
        classes = []
    near = min([*classes, *tokens], key=lambda chance: abs(chance.loss - loss))
    return min(above) if above and near.kind == "tokens" and abs(near.loss / loss - 1) > NEAR else near
