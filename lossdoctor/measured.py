"""What was measured of the data and the model that lie on this machine: numbers and names, for the checks in `data_checks`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, log
from typing import Literal

from lossdoctor.language import say
from lossdoctor.model import Run

#: Lengths are suggested in multiples of this, as kernels like them.
STEP = 64


def percent(share: float) -> str:
    """`42%`, `3.1%`; never 0% for something, nor 100% for less than all."""
    if 0.0 < share < 0.001 or 0.995 <= share < 1.0:
        return "<0.1%" if share < 0.5 else f"{min(share, 0.999):.1%}"
    return f"{share:.1%}" if 0.0 < share < 0.0995 else f"{share:.0%}"


def part(count: int, total: int, what: str = "examples") -> str:
    """`7 of 500 examples (1.4%)`, or `all 500 examples`."""
    if count == total:
        return say(f"all {{total:,}} {what}", total=total) if total > 1 else say(f"the one {what.removesuffix('s')}")
    return say(f"{{count:,}} of {{total:,}} {what} ({{share}})", count=count, total=total, share=percent(count / total))


#: Which tokens have a label: every one, the answers of the assistant, or what `{% generation %}` marks in the chat template.
Labels = Literal["all", "answers", "marked"]
#: What becomes of an example that is too long.
TooLong = Literal["cut right", "cut left", "cut both", "dropped", "packed"]
#: Why no token of an example has a label.
Unlabelled = Literal["", "the prompt fills the length", "no markers", "no assistant", "no answer", "labels are -100"]


@dataclass(frozen=True)
class Recipe:
    """How the run makes tokens and labels of an example, as far as its facts say; `…_from` names what each is known from.

    `adds_end` and `masks_padding` are None where nothing says so: whether the end token is appended to text, and whether labels
    are masked by the id of the padding token, that of a real end included.
    """

    tool: str = ""  # "TRL", "LLaMA-Factory", "axolotl"; empty where the facts name none
    labels: Labels = "all"
    labels_from: str = "no setting masks the prompt"
    max_length: int | None = None
    length_from: str = ""
    too_long: TooLong = "cut right"
    adds_end: bool | None = None
    masks_padding: bool | None = None
    padding_from: str = ""
    own_template: bool = False  # the tool brings templates of its own
    doubles_beginning: bool = False  # the text of a chat template gets special tokens once more


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer: how many tokens it knows, its special tokens by id, and what its chat template is able to do."""

    length: int
    padding: int | None = None
    end: int | None = None
    beginning: int | None = None
    ends: frozenset[int] = frozenset()  # ids at which generation stops, those of generation_config.json included
    words: dict[int, str] = field(default_factory=dict)  # the special tokens as they are written
    template: bool = False
    marks_answers: bool = False  # the template has {% generation %}, or the trainer brings one that has
    added: tuple[tuple[int, str], ...] = ()  # the tokens behind the last row of the model

    def word(self, token: int | None) -> str:
        """How a token is written."""
        return self.words.get(token, str(token)) if token is not None else "none"


@dataclass(frozen=True)
class Weights:
    """The model in the folder: `rows` of its embedding, the vocabulary of its configuration, and the loss of one batch.

    `unloaded` are parameters that the folder has no weights for, `untrained` tokens of the data whose embedding is zero.
    """

    vocabulary: int | None = None
    rows: int | None = None
    positions: int | None = None
    loss: float | None = None
    loss_tokens: int = 0
    loss_examples: int = 0
    unloaded: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """Tokens that the model has a row for: as its weights say, else its configuration."""
        return self.rows or self.vocabulary

    @property
    def chance(self) -> float | None:
        """The loss of a model that gives every token the same probability."""
        return log(self.vocabulary or self.rows or 0) if (self.size or 0) > 1 else None


@dataclass(frozen=True, slots=True)
class Example:
    """One example in tokens: all of them, those with a label, and both once more after it was shortened to the length.

    Of a preference pair the longer answer gives the tokens, and the one with fewer labels the labels.
    """

    row: int
    tokens: int
    labelled: int
    kept: int
    kept_labelled: int
    ends: bool = False  # the last tokens have one at which generation stops
    end_labelled: bool = False
    end_is_padding: bool = False
    beginnings: int = 0
    highest: int = 0
    why: Unlabelled = ""

    @property
    def cut(self) -> bool:
        return self.kept < self.tokens

    @property
    def answer_cut(self) -> bool:
        """Whether it lost tokens that had a label."""
        return self.kept_labelled < self.labelled


@dataclass(frozen=True)
class Measured:
    """All that a check of the data may look at; what was not measured is empty or None.

    `looked` of the `rows` were read; `fingerprinted` is how many rows from the first on were compared with each other.
    """

    run: Run = field(default_factory=Run)
    source: str = ""
    rows: int = 0
    looked: int = 0
    shape: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    vocabulary: Vocabulary | None = None
    weights: Weights | None = None
    examples: tuple[Example, ...] = ()
    fingerprinted: int = 0
    repeated: int = 0
    most_repeated: int = 0
    first_repeated: int = 0
    empty: int = 0
    first_empty: int = 0
    same_pairs: int = 0
    refused: int = 0  # examples that the chat template raised an error on
    refusal: str = ""
    roles: tuple[str, ...] = ()
    prompt_share: float = 0.0  # share of the characters that nobody has to answer with
    usual_end: str = ""  # how most examples end, as their last tokens are written
    pictures: bool = False
    unmeasured: str = ""  # why nothing was made into tokens

    @cached_property
    def supervised_share(self) -> float | None:
        """Share of the tokens that have a label, after examples were shortened; None where nothing was made into tokens."""
        kept = sum(example.kept for example in self.examples)
        return sum(example.kept_labelled for example in self.examples) / kept if kept else None

    def share(self, count: int) -> float:
        """So many examples as a share of those that were made into tokens."""
        return count / len(self.examples) if self.examples else 0.0

    def length_for(self, share: float) -> int:
        """The length, a multiple of 64, that so large a share of the examples fits into."""
        lengths = sorted(example.tokens for example in self.examples)
        at = min(len(lengths) - 1, max(0, ceil(share * len(lengths)) - 1))
        return ceil(lengths[at] / STEP) * STEP if lengths else 0

    @property
    def basis(self) -> str:
        """`512 of 52,002 examples in train.jsonl were looked at`, the first line of evidence."""
        of = (
            say("all {rows:,} examples", rows=self.rows)
            if self.looked >= self.rows
            else say("{looked:,} of {rows:,} examples", looked=self.looked, rows=self.rows)
        )
        return say("{of} in {source} were looked at", of=of, source=self.source)
