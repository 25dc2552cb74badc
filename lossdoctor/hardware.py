"""What a GPU can do, and in which precision a run computes, told from the facts.

Compute capabilities: NVIDIA's table (developer.nvidia.com/cuda-gpus). bf16 matrix units need 8.0 (Ampere);
`torch.cuda.is_bf16_supported()` may say True on a T4, where bf16 is emulated and about four times slower.
"""

from __future__ import annotations

import re

from lossdoctor.model import Run

BF16_CAPABILITY = 8.0
INT8_CAPABILITY = 7.5

#: Longest and most specific names first: the first match wins at each place.
_CAPABILITIES: tuple[tuple[str, float], ...] = (
    (r"rtx\s*pro\s*\d{4}|(?:rtx\s*)?50[5-9]0\b", 12.0),
    (r"rtx\s*\d{4}\s*(?:sff\s*)?ada", 8.9),
    (r"quadro\s*rtx(?:\s*\d{4})?|rtx\s*[468]000\b|titan\s*rtx", 7.5),
    (r"gb?[23]00\b|b[123]00\b", 10.0),
    (r"gh200|h100|h200|h800|h20\b", 9.0),
    (r"(?:rtx\s*)?40[5-9]0\b|\bl4\b|\bl40s?\b|\bl20\b", 8.9),
    (r"rtx\s*20[5-9]0|\b20[678]0\s*ti|gtx\s*16[3-9]0|\bt4\b", 7.5),
    (r"a40\b|a10g?\b|a16\b|a2\b|(?:rtx\s*)?a[2456][05]00|(?:rtx\s*)?30[5-9]0\b", 8.6),
    (r"a100|a800|a30\b", 8.0),
    (r"v100|titan\s*v\b", 7.0),
    (r"(?:gtx\s*)?10[5-8]0\b|p40\b|titan\s*xp?\b", 6.1),
    (r"p100", 6.0),
    (r"m60\b|m40\b|gtx\s*9[5-8]0", 5.2),
    (r"k80\b", 3.7),
)


def compute_capability(run: Run) -> float | None:
    """The lowest CUDA compute capability among the GPUs that the facts name; None where they name none."""
    known = run.get("compute_capability")
    if isinstance(known, (list, tuple)) and len(known) == 2:
        known = f"{known[0]}.{known[1]}"
    try:
        if known is not None:
            return float(known)
    except (TypeError, ValueError):
        pass
    text, found = str(run.get("gpu") or "").lower(), []
    for pattern, capability in _CAPABILITIES:
        text, hits = re.subn(pattern, " ", text)
        if hits:
            found.append(capability)
    return min(found, default=None)


def bf16_capable(run: Run) -> bool | None:
    """Whether the GPU computes bf16 in hardware; None where the GPU is not known."""
    capability = compute_capability(run)
    return None if capability is None else capability >= BF16_CAPABILITY


def precision(run: Run) -> str | None:
    """`fp16`, `bf16` or `fp32` (no mixed precision); None where the facts do not say."""
    fp16, bf16 = run.get("fp16"), run.get("bf16")
    if fp16 and fp16 != "auto":
        return "fp16"
    if bf16 and bf16 != "auto":
        return "bf16"
    return "fp32" if fp16 is False and bf16 is False else None


def gpus(run: Run) -> int | None:
    """How many processes train together; None where the facts do not say."""
    known = run.get("world_size")
    if isinstance(known, int):
        return known
    text = str(run.get("gpu") or "").lower()
    times = r"\s*(?:nodes?|gpus?)?\s*[x×*]\s*"
    pair = re.search(rf"(?<![\w.])(\d{{1,3}}){times}(\d{{1,2}})(?=\s+[a-z])", text)
    if pair:
        return int(pair[1]) * int(pair[2])
    single = re.search(rf"(?<![\w.])(\d{{1,3}}){times}(?=[a-z])|[x×*]\s*(\d{{1,3}})$", text)
    if single:
        return int(single[1] or single[2])
    return 2 if run.get("multi_gpu") is True else None


def zero_stage(run: Run) -> int | None:
    """The ZeRO stage of DeepSpeed; None where DeepSpeed or its stage is not known."""
    stage, deepspeed = run.get("zero_stage"), run.get("deepspeed")
    if stage is None and isinstance(deepspeed, dict):
        stage = (deepspeed.get("zero_optimization") or {}).get("stage")
    if isinstance(stage, int) and not isinstance(stage, bool):
        return stage
    found = re.search(r"zero[-_ ]?(?:stage[-_ ]?)?(\d)", str(run.get("framework") or "").lower())
    return int(found[1]) if found else None


def uses_deepspeed(run: Run) -> bool:
    """Whether any fact names DeepSpeed."""
    words = str(run.get("framework") or "").lower()
    return bool(run.get("deepspeed")) or zero_stage(run) is not None or "deepspeed" in words
