"""What a GPU can do, and in which precision a run computes, told from the facts.

Compute capabilities: NVIDIA's table (developer.nvidia.com/cuda-gpus). bf16 matrix units need 8.0 (Ampere);
`torch.cuda.is_bf16_supported()` may say True on a T4, where bf16 is emulated and about four times slower.
"""

from __future__ import annotations

import re
from typing import Any

from lossdoctor.language import say
from lossdoctor.model import Run

BF16_CAPABILITY = 8.0
INT8_CAPABILITY = 7.5

#: Attention kernels that do not take the boundaries of packed sequences from the position ids.
BLIND_KERNELS = ("eager", "sdpa", "xformers")

#: How people and libraries write the format of weights; and what fp16 is set to where nothing is kept in fp32.
HALF = ("float16", "fp16", "half", "torch.float16")
BRAIN = ("bfloat16", "bf16", "torch.bfloat16")
PURE = ("full", "pure")

#: Longest and most specific names first: the first match wins at each place.
_CAPABILITIES: tuple[tuple[str, float], ...] = (
    (r"rtx\s*pro\s*\d{4}|(?:rtx\s*)?50[5-9]0(?!\d)", 12.0),
    (r"rtx\s*\d{4}\s*(?:sff\s*)?ada", 8.9),
    (r"quadro\s*rtx(?:\s*\d{4})?|rtx\s*[468]000(?!\d)|titan\s*rtx|quadro\s*t\d{3,4}|mx\s*450", 7.5),
    (r"gb?[23]00(?!\d)|(?<![a-z])b[123]00(?!\d)", 10.0),
    (r"gh200|h100|h200|h800|h20(?!\d)", 9.0),
    (r"(?:rtx\s*)?40[5-9]0(?!\d)|(?<![a-z])l4(?!\d)|(?<![a-z])l40s?(?!\d)|(?<![a-z])l20(?!\d)", 8.9),
    (r"rtx\s*20[5-9]0|(?<!\d)20[678]0(?!\d)|gtx\s*16[3-9]0|(?<!\d)16[56]0(?!\d)|(?<![a-z])t4(?!\d)", 7.5),
    (r"(?<![a-z])a(?:40|10|16|2)(?!\d)|(?:rtx\s*)?(?<![a-z])a[2456][05]00(?!\d)|(?:rtx\s*)?30[5-9]0(?!\d)", 8.6),
    (r"a100|a800|(?<![a-z])a30(?!\d)", 8.0),
    (r"v100|titan\s*v\b", 7.0),
    (r"(?:gtx\s*)?10[5-8]0(?!\d)|(?<![a-z])p40?(?![\dd])|quadro\s*p\d{3,4}|titan\s*xp?\b|mx\s*[123]\d0", 6.1),
    (r"p100", 6.0),
    (r"(?<![a-z])m[46]0(?!\d)|gtx\s*9[5-8]0|gtx\s*750", 5.2),
    (r"k80(?!\d)", 3.7),
)


def compute_capability(run: Run) -> float | None:
    """The lowest CUDA compute capability among the GPUs that the facts name; None where they name none."""
    known = run.get("compute_capability")
    if isinstance(known, (list, tuple)):
        known = ".".join(map(str, known))
    written = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)(?:\.0)?", str(known or "").strip().lower())  # 8.6, "86", "sm_86"
    if written:
        return float(f"{written[1]}.{written[2]}")
    text, found = str(run.get("gpu") or "").lower(), []
    for pattern, capability in _CAPABILITIES:
        text, hits = re.subn(pattern, " ", text)
        if hits:
            found.append(capability)
    return min(found, default=None)


def unknown_gpu(run: Run) -> str | None:
    """Why nobody can say what the GPU computes; None where its compute capability is known."""
    if compute_capability(run) is not None:
        return None
    name = run.get("gpu")
    return (
        say("what {name} computes is not known: NVIDIA's GPUs by their names are", name=name)
        if name
        else say("the GPU is not known (--gpu)")
    )


def bf16_capable(run: Run) -> bool | None:
    """Whether the GPU computes bf16 in hardware; None where the GPU is not known."""
    known, capability = run.get("bf16_in_hardware"), compute_capability(run)
    if isinstance(known, bool):
        return known
    return None if capability is None else capability >= BF16_CAPABILITY


def precision(run: Run) -> str | None:
    """`fp16`, `bf16` or `fp32` (no mixed precision); None where the facts do not say."""
    fp16, bf16 = run.get("fp16"), run.get("bf16")
    if fp16 and fp16 != "auto":
        return "fp16"
    if bf16 and bf16 != "auto":
        return "bf16"
    sixteen = "16" in str(run.get("torch_dtype") or "")  # 16-bit weights compute in 16 bits, mixed precision or not
    return "fp32" if fp16 is False and bf16 is False and not sixteen else None


def eight_bit(run: Run) -> bool:
    """Whether the weights are loaded in 8 bits."""
    words = run.words("quantization")
    return bool(re.search(r"(?<!\d)8[-_ ]?bit|int8|^8$", words)) and "4bit" not in words


def unsupported(run: Run) -> tuple[str, dict[str, Any]] | None:
    """What the GPU cannot do of what a run asks for, in words, and the settings without it; None where nothing is known of it."""
    mixed, gpu, capability = precision(run), run.get("gpu"), compute_capability(run)
    name = gpu or say("this GPU")
    if eight_bit(run) and capability and capability < INT8_CAPABILITY:
        return say("8-bit weights need compute capability 7.5, {name} has {capability}", name=name, capability=capability), {
            "load_in_8bit": False
        }
    if mixed == "fp16" and re.search(r"gtx\s*16\d0", str(gpu).lower()):
        return say("fp16 is broken on {gpu}", gpu=gpu), {"fp16": False}
    if mixed == "bf16" and capability and capability < BF16_CAPABILITY:
        return say("bf16 needs compute capability 8.0, {name} has {capability}", name=name, capability=capability), {
            "bf16": False
        }
    return None


def gpus(run: Run) -> int | None:
    """How many processes train together; None where the facts do not say."""
    known = run.get("world_size")
    if isinstance(known, int):
        return known
    return cards(run) or (2 if run.get("multi_gpu") is True else None)


def cards(run: Run) -> int | None:
    """How many GPUs the fact `gpu` counts ("4x A100", "2 nodes x 8 H100"); None where it counts none."""
    text = str(run.get("gpu") or "").lower()
    times = r"\s*(?:nodes?|gpus?)?\s*[x×*]\s*"
    pair = re.search(rf"(?<![\w.])(\d{{1,3}}){times}(\d{{1,2}})(?=\s+[a-z])", text)
    if pair:
        return int(pair[1]) * int(pair[2])
    single = re.search(rf"(?<![\w.])(\d{{1,3}}){times}(?=[a-z])|[x×*]\s*(\d{{1,3}})$", text)
    if single:
        return int(single[1] or single[2])
    return None


#: Accelerators that are no NVIDIA GPU, by what people and libraries call them.
_PLATFORMS = (
    ("AMD", r"\bamd\b|rocm|(?<![a-z])mi\s?(?:[5-9]0|1[05]0|2[15]0x?|300[ax]?|325x)(?![\d.])|radeon|\brx\s?[67]\d00"),
    ("Ascend", r"ascend|\bnpu\b|910b|910a|torch_npu"),
    ("XLA", r"\btpu\b|\bxla\b|torch_xla"),
    ("Apple", r"\bmps\b|apple\s?m\d|\bm[1-4]\s?(?:pro|max|ultra)\b"),
    ("Intel", r"\bxpu\b|intel (?:arc|max|gpu)|gaudi|\bhpu\b"),
)


def platform(run: Run) -> str | None:
    """The maker of an accelerator that is no NVIDIA GPU, told from `gpu`, `framework` and the version of torch."""
    words = run.words("gpu", "framework", "torch_version")
    return next((name for name, pattern in _PLATFORMS if re.search(pattern, words)), None)


def zero_stage(run: Run) -> int | None:
    """The ZeRO stage of DeepSpeed; None where DeepSpeed or its stage is not known."""
    stage, deepspeed = run.get("zero_stage"), run.get("deepspeed")
    if stage is None and isinstance(deepspeed, dict):
        zero = deepspeed.get("zero_optimization")
        stage = zero.get("stage") if isinstance(zero, dict) else None
    if isinstance(stage, int) and not isinstance(stage, bool):
        return stage
    words = f"{deepspeed if isinstance(deepspeed, str) else ''} {run.get('framework') or ''}".lower()
    found = re.search(r"(?:zero|(?<![a-z])z)[-_ ]?(?:stage[-_ ]?)?([0-3])(?!\d)", words)
    return int(found[1]) if found else None


def races(run: Run) -> bool:
    """Whether DeepSpeed is set up as in the confirmed cases of buffers that are freed while they are being reduced."""
    overlapping = run.get("overlap_comm") is True and run.get("contiguous_gradients") is True
    return overlapping and zero_stage(run) in (1, 2) and (gpus(run) or 1) > 1


def uses_deepspeed(run: Run) -> bool:
    """Whether any fact names DeepSpeed."""
    words = run.words("framework")
    return bool(run.get("deepspeed")) or zero_stage(run) is not None or "deepspeed" in words
