"""Remedies that several causes share, fitted to the GPU and the checkpoints of the run."""

from __future__ import annotations

from lossdoctor import hardware
from lossdoctor.families import billions, family_of
from lossdoctor.language import say
from lossdoctor.model import Chart, Checkpoint, Remedy, Rule, Run

#: Gigabytes that a billion weights take in fp32, and what GPUs without bf16 have at most (V100 32, T4 and P100 16).
FP32_GIGABYTES, ROOM_ON_OLD_GPUS = 4, 12
QUANTISATION = "https://huggingface.co/docs/transformers/quantization/bitsandbytes"
INSTALLATION = "https://huggingface.co/docs/bitsandbytes/main/en/installation"
EIGHT_BIT = "https://github.com/tloen/alpaca-lora/issues/418"
FP32_WEIGHTS = "https://github.com/google/gemma_pytorch/issues/24"
PACKING = "https://huggingface.co/docs/trl/sft_trainer"
DEEPSPEED = "https://huggingface.co/docs/transformers/deepspeed"
PRECISION_SOURCE = "https://docs.pytorch.org/docs/stable/amp.html"
#: The loss scaler skips a step whose gradient is not finite; a NaN that the log filtered is applied to the weights all the same.
SCALER_SOURCE = "https://docs.pytorch.org/docs/stable/_modules/torch/cuda/amp/grad_scaler.html"
POISON_SOURCE = "https://github.com/huggingface/trl/issues/6702"
#: PaLM went back to about 100 steps before each of its spikes, which then did not come again.
RESTART_SOURCE = "https://doraemonzzz.gitbook.io/transformer_evolution_paper/llm/000"


def quantised_compute(run: Run) -> tuple[Remedy, ...]:
    """For 4-bit weights: the format in which they are multiplied, which mixed precision does not change."""
    words = run.words("quantization")
    if "4" not in words:
        return ()
    capable = hardware.bf16_capable(run)
    dtype = "float32" if capable is False else "bfloat16"
    why = say(
        "4-bit weights are unpacked into this format for every product, whatever bf16 and fp16 say; "
        "float16 overflows there just the same"
    )
    return (
        Remedy(
            say("Let the 4-bit weights compute in {dtype}", dtype=dtype),
            why,
            {"bnb_4bit_compute_dtype": dtype},
            "none",
            (QUANTISATION,),
        ),
    )


def wider_precision(run: Run) -> Remedy:
    """bf16 where the GPU computes it, fp32 where it does not, both where the GPU is not known."""
    capable = hardware.bf16_capable(run)
    family = family_of(run)
    sources = (PRECISION_SOURCE, family.source) if family and family.source else (PRECISION_SOURCE,)
    gpu = str(run.get("gpu") or say("this GPU"))
    if capable:
        return Remedy(
            say("Train in bf16 instead of fp16"),
            say(
                "bf16 reaches as far as fp32 (3.4e38; fp16 ends at 65,504) and needs no loss scale; {gpu} "
                "computes it in hardware",
                gpu=gpu,
            ),
            {"bf16": True, "fp16": False},
            "none",
            sources,
        )
    if capable is False:
        return _without_bf16(run, gpu, sources)
    if run.get("gpu"):  # no NVIDIA GPU that is known here
        why = say("fp16 ends at 65,504, bf16 and fp32 at 3.4e38; emulated bf16 is right but slow")
        change = {"fp16": False, "bf16": Rule(say("true if {gpu} computes it in hardware, else false", gpu=gpu))}
        return Remedy(say("Train in bf16 if {gpu} computes it in hardware, else in fp32", gpu=gpu), why, change, "low", sources)
    return Remedy(
        say(
            "Train in bf16 if the GPU is Ampere or newer (A100, A10, RTX 30xx, L4, H100); on a V100, T4, RTX 20xx or GTX in fp32"
        ),
        say("fp16 ends at 65,504, bf16 and fp32 at 3.4e38; name the GPU (the fact gpu) for a single answer"),
        {"fp16": False, "bf16": Rule(say("true on Ampere or newer, else false"))},
        "low",
        sources,
    )


def fp32_weights() -> Remedy:
    """For trainable weights that have 16 bits."""
    do = say("Load the model in fp32, or cast the trainable parameters to fp32, and keep mixed precision on")
    why = say("AMP then computes in 16 bits and updates in 32")
    return Remedy(do, why, {"torch_dtype": "float32"}, "medium", (FP32_WEIGHTS,))


def no_overlap() -> tuple[Remedy, ...]:
    """Against the race of ZeRO-1 and ZeRO-2."""
    return (
        Remedy(
            say("Set overlap_comm to false in the DeepSpeed configuration"),
            say("it cured most confirmed cases and costs little speed"),
            {"zero_optimization.overlap_comm": False},
            "low",
            ("https://github.com/deepspeedai/DeepSpeed/issues/7188", "https://github.com/deepspeedai/DeepSpeed/issues/5347"),
        ),
        Remedy(
            say("use ZeRO-3"),
            say("stage 3 does not have the race; it is slower"),
            {"zero_optimization.stage": 3},
            "medium",
            ("https://github.com/hiyouga/LlamaFactory/issues/8137",),
            alternative=True,
        ),
    )


def scheduler_by_trainer() -> Remedy:
    """For a DeepSpeed scheduler that does not fit the run."""
    do = say("Take the scheduler block out of the DeepSpeed configuration, or set its numbers to auto")
    change = {"scheduler.params.warmup_max_lr": "auto", "scheduler.params.total_num_steps": "auto"}
    return Remedy(do, say("the Trainer then builds the schedule from its own arguments"), change, "none", (DEEPSPEED,))


def non_reentrant() -> Remedy:
    """For gradient checkpointing with an adapter."""
    return Remedy(
        say("With gradient checkpointing, use the non-reentrant kind"),
        say("the reentrant one needs inputs that require a gradient"),
        {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
        "none",
        ("https://github.com/huggingface/transformers/issues/26221",),
    )


def separated_examples() -> tuple[Remedy, ...]:
    """For packed examples that an attention kernel does not keep apart."""
    return (
        Remedy(
            say("Use FlashAttention 2, which keeps packed examples apart"),
            say("it takes their boundaries from the position ids; the package flash-attn must be installed"),
            {"attn_implementation": "flash_attention_2"},
            "low",
            (PACKING, "https://github.com/hiyouga/LlamaFactory/issues/9631"),
        ),
        Remedy(
            say("pad instead of packing"),
            say("slower, and right with every kernel"),
            {"packing": False},
            "medium",
            (PACKING,),
            alternative=True,
        ),
    )


def other_format(run: Run) -> tuple[Remedy, ...]:
    """What to do about a number format that the GPU does not support; nothing where it supports what is asked for."""
    found = hardware.unsupported(run)
    if found is None:
        return ()
    words, change = found
    sick = Remedy(say("Do not use this format on this GPU"), words, change, "medium", (EIGHT_BIT,))
    if "load_in_8bit" not in change:
        return (sick,)
    why = say("4-bit weights (NF4) have kernels for these GPUs; computing in fp32 is slower and cannot overflow")
    change = {"load_in_4bit": True, "bnb_4bit_compute_dtype": "float32", "fp16": False}
    return (sick, Remedy(say("Load the model in 4 bits instead, and leave fp16 off"), why, change, "medium", (INSTALLATION,)))


def _without_bf16(run: Run, gpu: str, sources: tuple[str, ...]) -> Remedy:
    """fp32 where the weights fit, four bits that compute in fp32 where they do not."""
    size, four_bits = billions(run) or 0.0, "4" in str(run.get("quantization") or "")
    none = say("{gpu} has no bf16 units (they need compute capability 8.0)", gpu=gpu)
    if size * FP32_GIGABYTES > ROOM_ON_OLD_GPUS and not four_bits:
        why = say(
            "{none}, and {size:g} billion weights take {size2:.0f} GB in fp32; NF4 with LoRA takes an eighth",
            none=none,
            size=size,
            size2=size * FP32_GIGABYTES,
        )
        change = {"fp16": False, "load_in_4bit": True, "bnb_4bit_compute_dtype": "float32"}
        return Remedy(
            say("Load the model in 4 bits, compute in fp32, and switch fp16 off"), why, change, "medium", (*sources, QUANTISATION)
        )
    why = say("{none}, so fp32 is the only safe range on it", none=none)
    if four_bits:
        return Remedy(say("Switch fp16 off"), why, {"fp16": False, "bf16": False}, "medium", sources)
    why += say("; gradient checkpointing and a smaller batch with more accumulation pay back part of the memory")
    change = {"fp16": False, "bf16": False, "gradient_checkpointing": True}
    return Remedy(say("Train in fp32: switch fp16 off"), why, change, "high", sources)


def last_checkpoint_before(run: Run, step: int) -> Checkpoint | None:
    """The newest checkpoint on disk that was written before `step`."""
    return max((c for c in run.checkpoints if c.step < step), key=lambda c: c.step, default=None)


#: Sound rows after the last failure that show that it did not reach the weights.
SOUND_ROWS = 2
#: Symptoms that say, already as a warning, that weights or steps may be lost.
_POISON = ("loss-collapse-to-zero", "loss-not-finite", "gradient-not-finite", "gradient-constant")


def first_bad_step(chart: Chart) -> int | None:
    """The earliest step at which a failure may have begun; None where there is none.

    The row of the first bad gradient norm spans a whole logging window. Where the loss collapsed, the step was solved for, and
    where an instrument saw the loss, it is known.
    """
    bad = [s for s in chart.symptoms if s.open and (s.severity == "critical" or (s.severity == "warning" and s.slug in _POISON))]
    known = any(s.slug == "loss-collapse-to-zero" or s.evidence.get("seen_live") for s in bad)
    if known and chart.outline.window > 1:
        bad = [s for s in bad if s.slug != "gradient-not-finite"]
    return min((int(s.evidence.get("first_nan_earliest", s.onset)) for s in bad), default=None)


def start_again(chart: Chart, *, anew: bool = False) -> tuple[Remedy, ...]:
    """From the last checkpoint before the failure, or from the beginning; nothing while the run is not lost.

    Where the learning rate froze, the steps since were skipped: the weights of later checkpoints are still sound. With `anew`
    a new run begins from the weights of the checkpoint: a resume would bring the old learning rate back.
    """
    step = first_bad_step(chart)
    if step is None or not any(s.open and s.severity == "critical" for s in chart.symptoms):
        return ()
    frozen = chart.seen("learning-rate-frozen")
    scaled = hardware.precision(chart.run) not in ("bf16", "fp32")  # only a loss scaler skips steps
    if frozen and frozen.open and frozen.severity == "critical" and scaled and step > 1:
        newest = chart.run.checkpoints[-1].path if chart.run.checkpoints else True
        do = say("Resume from the newest checkpoint")
        why = say(
            "its weights are sound: the steps after {step:,} were skipped, so they are practically still those of that step",
            step=step - 1,
        )
        return (Remedy(do, why, {"resume_from_checkpoint": newest}, "none", (SCALER_SOURCE,)),)
    if sound := _what_shows_sound_weights(chart):
        why = say("{sound}, and NaN weights would give NaN", sound=sound)
        return (Remedy(say("Keep the weights: they are sound"), why, {}, "none", (POISON_SOURCE,)),)
    found, due = last_checkpoint_before(chart.run, step), _checkpoint_due(chart.run, step)
    if anew:
        return (_from_weights(step, found, due),)
    poisoned = any(s.slug in _POISON for s in chart.symptoms if s.open)
    later = (
        say("checkpoints written later may hold NaN weights")
        if poisoned
        else say("later checkpoints were written after the climb")
    )
    source = (POISON_SOURCE if poisoned else RESTART_SOURCE,)
    if found is not None:
        do = say("Resume from checkpoint-{step}, the last one written before step {step2:,}", step=found.step, step2=step)
        return (Remedy(do, later, {"resume_from_checkpoint": found.path}, "low", source),)
    if due:
        do = say("Resume from checkpoint-{due} if it still exists, the last one due before step {step:,}", due=due, step=step)
        return (Remedy(do, later, {"resume_from_checkpoint": Rule(f"checkpoint-{due}")}, "low", source),)
    why = say("no checkpoint is known from before step {step:,}; {later}", step=step, later=later)
    return (Remedy(say("Start again from the base model"), why, {"resume_from_checkpoint": False}, "medium", source),)


def _what_shows_sound_weights(chart: Chart) -> str | None:
    """An evaluation or rows after the last failure that are finite, in words; None where there are none."""
    evaluated = chart.outline.last_eval_step
    poison = [s for s in chart.symptoms if s.open and s.slug in ("loss-not-finite", "loss-collapse-to-zero")]
    if evaluated is not None and poison and evaluated >= max(s.last for s in poison):
        return say("the evaluation at step {evaluated:,} is finite", evaluated=evaluated)
    lost = [s for s in chart.symptoms if s.open and s.slug in (*_POISON, "loss-intermittent-zero")]
    ended = max((s.onset if s.evidence.get("finite_rows_after") else s.last for s in lost), default=0)
    if lost and sum(at > ended for at in chart.outline.table.get("step", ())) >= SOUND_ROWS:
        return say("the rows after the last failure are as sound as those before it")
    return None


def _checkpoint_due(run: Run, step: int) -> int:
    """The last step before `step` at which `save_steps` writes a checkpoint; 0 where there is none, or nothing says."""
    every = run.get("save_steps")
    return int((step - 1) // every * every) if isinstance(every, (int, float)) and every >= 1 else 0


def _from_weights(step: int, found: Checkpoint | None, due: int) -> Remedy:
    change = {"resume_from_checkpoint": False}
    if found is None and not due:
        why = say("no checkpoint is known from before step {step:,}; later ones were written after the climb", step=step)
        return Remedy(say("Start again from the base model"), why, change, "medium", (RESTART_SOURCE,))
    name = found.path if found else say("checkpoint-{due}, if it still exists", due=due)
    why = say("a resume brings the old learning rate back: it is stored in scheduler.pt and optimizer.pt")
    return Remedy(say("Begin a new run from the weights of {name}", name=name), why, change, "low", (RESTART_SOURCE,))


def show_nan() -> Remedy:
    """Makes the log tell the truth the next time."""
    return Remedy(
        say("Let the log show NaN as NaN"),
        say(
            "the default replaces a NaN loss by the average of the window, so it reads 0.0 or a plausible "
            "number; with the filter off it is seen at once, in the first row"
        ),
        {"logging_nan_inf_filter": False, "logging_steps": 1},
        "none",
        ("https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments.logging_nan_inf_filter",),
    )
