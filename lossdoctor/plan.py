"""What a configuration comes to before the first step: effective batch, optimizer steps, examples and tokens seen, warm-up,
the scale of an adapter, the layers that are trained, precision, and the learning rate over the steps.

Counted as the Trainer counts (`transformers.Trainer.set_initial_training_values`, `TrainingArguments.get_warmup_steps`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from lossdoctor import hardware, layers
from lossdoctor.language import plural, say
from lossdoctor.model import Run
from lossdoctor.planned_rates import PlannedRate, planned, trainers_defaults
from lossdoctor.schedules import warmup_steps
from lossdoctor.slips import numbered

#: The Trainer's own defaults, for what a configuration leaves open.
PER_DEVICE, EPOCHS = 8, 3.0


@dataclass(frozen=True)
class Quantity:
    """A derived number: `how` shows what it was worked out from; `assumed` names what nobody stated, and was taken as usual."""

    value: float
    how: str
    assumed: tuple[str, ...] = ()
    stated: bool = False  # nothing was worked out
    factors: tuple[int, ...] = ()  # of an effective batch: examples per device, accumulated steps, processes

    @property
    def whole(self) -> int:
        return int(self.value)


@dataclass(frozen=True)
class Plan:
    """A run as it is planned; what cannot be worked out is None. Steps are optimizer steps."""

    run: Run
    effective_batch: Quantity | None
    steps_per_epoch: Quantity | None
    epochs: Quantity | None
    total_steps: Quantity | None
    examples_seen: Quantity | None
    tokens_seen: Quantity | None  # at most: shorter examples are not padded to full length, or padding teaches nothing
    warmup: Quantity | None
    adapter_scale: Quantity | None
    trained_layers: layers.Layers | None
    precision: str | None
    rates: PlannedRate | None

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a fact by its canonical name."""
        return self.run.get(name, default)

    @property
    def steps_per_example(self) -> float | None:
        """Optimizer steps for each example of the data, over all epochs; known even where the number of examples is not."""
        if self.epochs is None or self.effective_batch is None or self._steps_stated or self.get("packing") is True:
            return None
        return self.epochs.value / self.effective_batch.value

    @property
    def _steps_stated(self) -> bool:
        return _count(self.run.get("max_steps")) is not None


def plan_of(run: Run) -> Plan:
    """Works out everything that the facts of a run allow."""
    batch = _effective_batch(run)
    each = _steps_per_epoch(run, batch)
    epochs, total = _length(run, each)
    seen = _examples_seen(run, batch, epochs, total)
    steps = total.whole if total else None
    warm = warmup_steps(run, steps or 0)
    stated_share = warm is not None and not run.get("warmup_steps", 0) >= 1
    return Plan(
        run=run,
        effective_batch=batch,
        steps_per_epoch=each,
        epochs=epochs,
        total_steps=total,
        examples_seen=seen,
        tokens_seen=_tokens_seen(run, seen, batch, total),
        warmup=None if warm is None or (stated_share and steps is None) else Quantity(warm, numbered(warm, "steps")),
        adapter_scale=adapter_scale(run),
        trained_layers=_trained_layers(run),
        precision=hardware.precision(run),
        rates=planned(run, steps),
    )


def _effective_batch(run: Run) -> Quantity | None:
    """Examples per optimizer step: per device × accumulation × processes."""
    each, accumulation = _count(run.get("per_device_train_batch_size")), _count(run.get("gradient_accumulation_steps"))
    processes, total = hardware.gpus(run), _count(run.get("total_train_batch_size"))
    if total and not (each and accumulation and processes):
        return Quantity(total, say("{total:,}, as stated", total=total), stated=True)
    if (each is None and accumulation is None) or (each is None and not trainers_defaults(run)):
        return None
    usual = (
        (each, say("{per_device} per device, the Trainer's default", per_device=PER_DEVICE)),
        (accumulation, say("no accumulation")),
        (processes, say("one process")),
    )
    assumed = [words for known, words in usual if known is None]
    if hardware.cards(run) is None and run.get("world_size") is None and processes:
        assumed.append(say("{processes} processes, as it is not said how many GPUs there are", processes=processes))
    each, accumulation, processes = each or PER_DEVICE, accumulation or 1, processes or 1
    how = plural(
        "{each} per device × {accumulation} accumulated × {processes} process",
        "{each} per device × {accumulation} accumulated × {processes} processes",
        processes,
        each=each,
        accumulation=accumulation,
        processes=processes,
    )
    return Quantity(each * accumulation * processes, how, tuple(assumed), factors=(each, accumulation, processes))


def _steps_per_epoch(run: Run, batch: Quantity | None) -> Quantity | None:
    """The last batch of an epoch may be smaller; what is left for one more step makes one. Packed examples are not counted."""
    rows = _count(run.get("dataset_size"))
    if rows is None or batch is None or run.get("packing") is True:
        return None
    accumulation = _count(run.get("gradient_accumulation_steps")) or 1
    micro = max(1, batch.whole // accumulation)
    batches = rows // micro if run.get("dataloader_drop_last") is True else ceil(rows / micro)
    steps = max(1, ceil(batches / accumulation))
    return Quantity(steps, f"{numbered(rows, 'examples')} / {batch.whole:,}", batch.assumed)


def _length(run: Run, each: Quantity | None) -> tuple[Quantity | None, Quantity | None]:
    """Epochs and optimizer steps; `max_steps` wins, as in the Trainer."""
    steps, epochs = _count(run.get("max_steps")), run.get("num_train_epochs")
    if steps is not None:
        done = (
            Quantity(
                steps / each.value,
                say("{steps} / {each_whole:,} per epoch", steps=numbered(steps, "steps"), each_whole=each.whole),
                each.assumed,
            )
            if each
            else None
        )
        return done, Quantity(steps, say("{steps:,}, as stated", steps=steps), stated=True)
    known = None
    if isinstance(epochs, (int, float)) and not isinstance(epochs, bool) and 0 < epochs < 2**31:
        known = Quantity(float(epochs), say("{epochs:g}, as stated", epochs=epochs), stated=True)
    if each is None:
        return known, None
    if known is None and not trainers_defaults(run):
        return None, None
    known = known or Quantity(EPOCHS, f"{EPOCHS:g}", (say("{epochs:g} epochs, the Trainer's default", epochs=EPOCHS),))
    total = ceil(known.value * each.value)
    return known, Quantity(
        total, f"{numbered(known.value, 'epochs')} × {numbered(each.whole, 'steps')}", (*known.assumed, *each.assumed)
    )


def _examples_seen(run: Run, batch: Quantity | None, epochs: Quantity | None, total: Quantity | None) -> Quantity | None:
    rows = _count(run.get("dataset_size"))
    if _count(run.get("max_steps")) is None and rows and epochs:
        return Quantity(rows * epochs.value, f"{numbered(rows, 'examples')} × {numbered(epochs.value, 'epochs')}", epochs.assumed)
    if batch and total and run.get("packing") is not True:
        return Quantity(
            total.value * batch.value, f"{numbered(total.whole, 'steps')} × {batch.whole:,}", (*total.assumed, *batch.assumed)
        )
    return None


def _tokens_seen(run: Run, seen: Quantity | None, batch: Quantity | None, total: Quantity | None) -> Quantity | None:
    """With packing every sequence of a step is full."""
    length = _count(run.get("max_length"))
    if run.get("packing") is True:
        if length is None or batch is None or total is None:
            return None
        how = say(
            "{total_whole:,} steps × {batch_whole:,} sequences × {length:,} tokens",
            total_whole=total.whole,
            batch_whole=batch.whole,
            length=length,
        )
        return Quantity(total.value * batch.value * length, how, batch.assumed)
    if seen is None or length is None:
        return None
    return Quantity(
        seen.value * length,
        say("{seen_value:,.0f} examples × at most {length:,} tokens", seen_value=seen.value, length=length),
        seen.assumed,
    )


def adapter_scale(run: Run) -> Quantity | None:
    """What the update of an adapter is multiplied by: alpha / rank, with rsLoRA alpha / √rank (arxiv.org/abs/2312.03732)."""
    rank, alpha = _count(run.get("lora_r")), run.get("lora_alpha")
    assumed: tuple[str, ...] = ()
    if rank is not None and alpha is None and "factory" in run.words("framework"):
        alpha, assumed = 2 * rank, (say("an alpha of {rank}, LLaMA-Factory's default of twice the rank", rank=2 * rank),)
    if rank is None or not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        return None
    if run.get("use_rslora") is True:
        return Quantity(alpha / sqrt(rank), f"{alpha:g} / √{rank}", assumed)
    return Quantity(alpha / rank, f"{alpha:g} / {rank}", assumed)


def _trained_layers(run: Run) -> layers.Layers | None:
    total = _count(run.get("num_hidden_layers"))
    frozen = run.get("freeze_trainable_layers")
    if isinstance(frozen, int) and "freeze" in run.words("finetuning_type"):
        return layers.last(frozen, total)
    return layers.chosen(run.get("trainable_layers"), total) or layers.chosen(run.get("lora_layers"), total)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
