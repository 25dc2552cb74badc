"""The trials: a tuned fine-tune, one fault, and how severe it is.

They were chosen from what goes wrong in the field, over all models and methods, before it was known what lossdoctor makes of
them. The cause that is named is the fault that was put in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from trials.controls import control, noisy, small, wide
from trials.recipe import Recipe

BOTH = ("full", "lora")
A100, T4 = "NVIDIA A100-SXM4-80GB", "Tesla T4"
TINY = "overfitting too-little-data memorisation"
SGD = {"optim": "sgd", "optim_args": "momentum=0.9"}


@dataclass(frozen=True)
class Trial:
    """A fine-tune that goes wrong: its fault in words, the causes that are right, its recipe, and that of its control."""

    fault: str
    causes: tuple[str, ...]
    broken: Recipe
    control: Recipe

    @property
    def name(self) -> str:
        return f"{self.model}: {self.fault}"

    @property
    def model(self) -> str:
        """Its family and how it is trained; the width where it is not that of most."""
        wide = f" {self.broken.width}" if self.broken.width != Recipe.width else ""
        return f"{self.broken.family}{wide} {self.broken.method}"

    def with_seed(self, seed: int | None) -> Trial:
        """The same trial with other dice; None for those of the recipes."""
        if seed is None:
            return self
        broken, control = (recipe.with_settings({"seed": seed}) for recipe in (self.broken, self.control))
        return replace(self, broken=broken, control=control)


def trials() -> tuple[Trial, ...]:
    """All of them."""
    makers = (
        too_high, too_low, overflow, half_precision, masked, frozen, cut_off, no_warm_up, bad_batches, tiny_data, schedules,
        label_noise, accumulation, unshuffled, resumed, sgd, embeddings, adapter_scale, shifted, twice_as_wide,
    )  # fmt: skip
    return tuple(trial for maker in makers for trial in maker())


def _trial(fault: str, causes: str, family: str, method: str, *, like: Recipe | None = None, **changes: Any) -> Trial:
    """`changes` are settings, or fields of the recipe."""
    good = like or control(family, method)
    parts = {name: changes.pop(name) for name in ("data", "examples", "gpu", "stop_at") if name in changes}
    if isinstance(parts.get("data"), str):
        parts["data"] = good.data | {parts["data"]}
    return Trial(fault, tuple(causes.split()), replace(good.with_settings(changes), **parts), good)


def _rate(family: str, method: str, times: float, like: Recipe | None = None) -> float:
    return float(f"{(like or control(family, method)).settings['learning_rate'] * times:.3g}")


def too_high() -> Iterator[Trial]:
    """Learning rates of 30 to 1,000 times the tuned one."""
    chosen = {
        30: ("llama full", "gpt2 full", "bert full", "t5 full", "llama lora"),
        100: ("llama full", "gpt2 lora", "bert lora"),
        300: ("t5 full", "llama lora", "gpt2 full"),
        1000: ("bert full", "t5 lora"),
    }
    for times, runs in chosen.items():
        for family, method in (run.split() for run in runs):
            rate = _rate(family, method, times)
            yield _trial(f"learning rate ×{times:,}", "learning-rate-too-high", family, method, learning_rate=rate)


def too_low() -> Iterator[Trial]:
    """Learning rates of a thousandth of the tuned one, and those of full fine-tuning used for an adapter."""
    for family in ("llama", "gpt2", "bert", "t5"):
        for method in BOTH:
            rate = _rate(family, method, 1 / 1000)
            yield _trial("learning rate ÷1,000", "learning-rate-too-low", family, method, learning_rate=rate)


def overflow() -> Iterator[Trial]:
    """fp16 with a model whose activations come near 65,504, or exceed it, on a GPU with and without bf16."""
    for family, method, share, gpu in (
        ("llama", "full", 1.2, A100), ("llama", "lora", 0.98, A100), ("gpt2", "full", 1.5, T4), ("gpt2", "lora", 1.2, A100),
        ("t5", "full", 0.98, A100), ("t5", "lora", 1.2, T4),
    ):  # fmt: skip
        words = f"fp16, activations up to {share:.0%} of its range" + (", no bf16 in hardware" if gpu == T4 else "")
        data = f"large activations {share}"
        yield _trial(words, "fp16-overflow", family, method, data=data, gpu=gpu, fp16=True)


def half_precision() -> Iterator[Trial]:
    """Weights that are stored in fp16."""
    for family in ("llama", "bert"):
        yield _trial("weights in fp16", "half-precision-weights fp16-overflow", family, "full", torch_dtype="float16")


def masked() -> Iterator[Trial]:
    """Answers that are cut off, and a template that is not found since its last blank belongs to the next token."""
    for family, method in (("llama", "full"), ("gpt2", "lora")):
        yield _trial("max_length 20 cuts off all answers", "no-supervised-tokens", family, method, max_length=20)
    yield _trial("max_length 28 cuts off most of each answer", "no-supervised-tokens", "gpt2", "full", max_length=28)
    for family, method in (("gpt2", "full"), ("llama", "lora")):
        words = "response template that is not found"
        yield _trial(words, "no-supervised-tokens", family, method, response_template="### Answer: ")


def frozen() -> Iterator[Trial]:
    """A saved adapter that is loaded as PEFT loads it by default."""
    for family in ("llama", "t5", "bert"):
        good = replace(control(family, "lora"), data=frozenset({"loaded adapter"}))
        yield _trial("adapter loaded frozen", "no-gradient-to-adapter", family, "lora", like=good, is_trainable=False)


def cut_off() -> Iterator[Trial]:
    """Reentrant checkpointing with an adapter, in scripts that train the last norm or a head as well, so nothing fails aloud."""
    for family, head in (("llama", "norm"), ("gpt2", "ln_f"), ("bert", "classifier")):
        good = replace(control(family, "lora", modules_to_save=[head]), data=frozenset({"inputs without gradient"}))
        yield _trial("reentrant checkpointing cuts the adapter off", "no-gradient-to-adapter", family, "lora", like=good,
                     gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": True})  # fmt: skip


def no_warm_up() -> Iterator[Trial]:
    """A rate that a warm-up would help to bear."""
    for family, times in (("llama", 10), ("gpt2", 10)):
        yield _trial(f"no warm-up, learning rate ×{times}", "learning-rate-too-high", family, "full",
                     learning_rate=_rate(family, "full", times), warmup_steps=0)  # fmt: skip


def bad_batches() -> Iterator[Trial]:
    """Three tenths of the data are noise, in blocks that come one after another, and nothing is clipped."""
    for family, method in (("llama", "full"), ("gpt2", "full"), ("t5", "lora")):
        good = replace(control(family, method), data=frozenset({"garbage 0.3"}))
        words = "blocks of garbage in the data, unshuffled and unclipped, learning rate ×5"
        yield _trial(words, "bad-batch learning-rate-too-high", family, method, like=good, max_grad_norm=0.0,
                     learning_rate=_rate(family, method, 5), train_sampling_strategy="sequential")  # fmt: skip


def tiny_data() -> Iterator[Trial]:
    """48 examples that are shown 30 times, with and without an evaluation."""
    for family, method in (("llama", "full"), ("bert", "full"), ("t5", "full"), ("llama", "lora")):
        yield _trial("48 examples, 30 epochs", TINY, family, method, like=small(family, method), num_train_epochs=30)
    more = {"num_train_epochs": 30, "eval_strategy": "no"}
    yield _trial("48 examples, 30 epochs, no evaluation", TINY, "gpt2", "full", like=small("gpt2", "full"), **more)


def schedules() -> Iterator[Trial]:
    """A schedule that is made for fewer steps than the run has, and a warm-up that is longer than the run."""
    for family, method in (("llama", "full"), ("t5", "full"), ("bert", "lora")):
        yield _trial("schedule made for 30 of 160 steps", "schedule-misconfigured", family, method, num_training_steps=30,
                     num_warmup_steps=10)  # fmt: skip
    for family, method in (("gpt2", "full"), ("llama", "lora")):
        yield _trial("warm-up of 5,000 steps", "schedule-misconfigured", family, method, warmup_steps=5000)


def label_noise() -> Iterator[Trial]:
    """40 % of the labels are drawn by chance, and learned by heart."""
    for family in ("bert", "t5"):
        yield _trial("40 % label noise, 10 epochs", "overfitting memorisation bad-data-or-weights", family, "full",
                     like=noisy(family, "full"), num_train_epochs=10)  # fmt: skip


def accumulation() -> Iterator[Trial]:
    """So many micro-batches per step that hardly any step is left, and losses that are summed over them."""
    for family, method in (("llama", "full"), ("bert", "full"), ("t5", "lora")):
        yield _trial("64 micro-batches of 8 for a step", "too-few-epochs", family, method, gradient_accumulation_steps=64,
                     warmup_steps=0, logging_steps=1)  # fmt: skip
    for family in ("llama", "gpt2"):
        good = control(family, "full", **SGD)
        words, causes = "loss summed over 8 micro-batches, SGD, unclipped", "loss-scaled-by-accumulation learning-rate-too-high"
        yield _trial(words, causes, family, "full", like=good,
                     gradient_accumulation_steps=8, per_device_train_batch_size=1, data="summed", max_grad_norm=0.0)  # fmt: skip


def unshuffled() -> Iterator[Trial]:
    """Data in the order of its classes, or from long to short, that is not shuffled."""
    for family, method in (("bert", "full"), ("bert", "lora")):
        good = replace(control(family, method), data=frozenset({"sorted"}))
        yield _trial(
            "sorted by class and not shuffled", "unshuffled-data", family, method, like=good, train_sampling_strategy="sequential"
        )
    for family in ("gpt2",):
        good = replace(control(family, "full"), data=frozenset({"sorted"}))
        yield _trial(
            "sorted by length and not shuffled",
            "unshuffled-data",
            family,
            "full",
            like=good,
            train_sampling_strategy="sequential",
        )


def resumed() -> Iterator[Trial]:
    """Stopped after 90 % and resumed from a checkpoint without the optimizer, whose rate begins anew at its peak."""
    for family, method in (("llama", "full"), ("t5", "full"), ("gpt2", "lora")):
        good = control(family, method, warmup_steps=0, save_steps=20)
        yield _trial("resumed without the optimizer", "resume-not-restored", family, method, like=good, stop_at=0.9,
                     save_only_model=True)  # fmt: skip


def sgd() -> Iterator[Trial]:
    """SGD at rates that explode, unclipped."""
    for family, times in (("llama", 100), ("gpt2", 30), ("bert", 100), ("t5", 30)):
        good = control(family, "full", **SGD)
        yield _trial(f"SGD at ×{times}, unclipped", "learning-rate-too-high", family, "full", like=good,
                     learning_rate=_rate(family, "full", times, good), max_grad_norm=0.0)  # fmt: skip


def embeddings() -> Iterator[Trial]:
    """Two tokens that are added with rows of another scale."""
    for method in ("lora",):
        good = replace(control("llama", method), data=frozenset({"new tokens"}))
        yield _trial("new tokens begin at random rows", "untrained-embeddings", "llama", method, like=good, mean_resizing=False)


def adapter_scale() -> Iterator[Trial]:
    """An alpha that makes each step of the adapter count sixty times as much."""
    for family in ("llama", "t5"):
        yield _trial("lora_alpha 2,048 at rank 8", "learning-rate-too-high", family, "lora", lora_alpha=2048)


def shifted() -> Iterator[Trial]:
    """Labels that the script shifts, and the model once more."""
    for family, method in (("llama", "full"), ("gpt2", "lora")):
        yield _trial("labels shifted twice", "wrong-mask-or-template", family, method, labels="input_ids[1:] + [-100]")
    for family, length in (("gpt2", 128), ("t5", 64)):
        good = control(family, "full", max_length=length, padding="max_length")
        yield _trial("padding scored as text", "wrong-mask-or-template", family, "full", like=good, label_pad_token_id=0)


def twice_as_wide() -> Iterator[Trial]:
    """Faults of each kind in models of twice the width, which have other rates and other weights."""
    times = (
        ("llama", "full", 30), ("gpt2", "full", 300), ("gpt2", "lora", 100), ("bert", "full", 1000), ("llama", "lora", 300),
        ("gpt2", "full", 1 / 1000), ("llama", "lora", 1 / 1000), ("bert", "lora", 1 / 1000), ("bert", "full", 1 / 1000),
    )  # fmt: skip
    for family, method, factor in times:
        like = wide(family, method)
        words, cause = (f"×{factor:,}", "too-high") if factor > 1 else (f"÷{1 / factor:,.0f}", "too-low")
        yield _trial(f"learning rate {words}", f"learning-rate-{cause}", family, method, like=like,
                     learning_rate=_rate(family, method, factor, like))  # fmt: skip
    like = wide("gpt2", "full")
    yield _trial("no warm-up, learning rate ×10", "learning-rate-too-high", "gpt2", "full", like=like, warmup_steps=0,
                 learning_rate=_rate("gpt2", "full", 10, like))  # fmt: skip
    yield _trial("fp16, activations up to 120% of its range", "fp16-overflow", "llama", "full", like=wide("llama", "full"),
                 data="large activations 1.2", gpu=A100, fp16=True)  # fmt: skip
    yield _trial("max_length 20 cuts off all answers", "no-supervised-tokens", "llama", "lora", like=wide("llama", "lora"),
                 max_length=20)  # fmt: skip
    good = replace(wide("bert", "full"), data=frozenset({"sorted"}))
    yield _trial("sorted by class and not shuffled", "unshuffled-data", "bert", "full", like=good,
                 train_sampling_strategy="sequential")  # fmt: skip
    yield _trial("warm-up of 5,000 steps", "schedule-misconfigured", "gpt2", "lora", like=wide("gpt2", "lora"), warmup_steps=5000)
    yield _trial("lora_alpha 2,048 at rank 8", "learning-rate-too-high", "llama", "lora", like=wide("llama", "lora"),
                 lora_alpha=2048)  # fmt: skip
    yield _trial("labels shifted twice", "wrong-mask-or-template", "gpt2", "full", like=wide("gpt2", "full"),
                 labels="input_ids[1:] + [-100]")  # fmt: skip
