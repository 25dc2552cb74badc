"""The tools and their versions: they are not settings of the training, but a few of them changed what is logged."""

from __future__ import annotations

import re

from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan


def version(name: str, one: Plan, other: Plan) -> Rating:
    """Releases are to train alike."""
    return Rating("none", say("{name}: no setting of the training; releases are to train alike", name=shown(name, one, other)))


def transformers(name: str, one: Plan, other: Plan) -> Rating:
    """4.46 to 4.51 logged some losses times the accumulation; since 5 defaults differ."""
    numbers = [tuple(map(int, re.findall(r"\d+", str(plan.get(name)))[:2])) for plan in (one, other)]
    multiplied = [(4, 46) <= number <= (4, 51) for number in numbers]
    steps = [plan.get("gradient_accumulation_steps") or 1 for plan in (one, other)]
    if multiplied[0] != multiplied[1] and max(steps) > 1:
        words = say(
            "{name}: 4.46 to 4.51 logged the loss of some models times the accumulation steps", name=shown(name, one, other)
        )
        return Rating("medium", words, (sources.ACCUMULATION,))
    if numbers[0][:1] != numbers[1][:1]:
        return Rating(
            "low",
            say("{name}: what is left open has other defaults from 5.0 on, such as a fused AdamW", name=shown(name, one, other)),
        )
    return version(name, one, other)


def framework(name: str, one: Plan, other: Plan) -> Rating:
    """A tool with defaults of its own."""
    return Rating(
        "low", say("{name}: what one of them leaves open may have another default in the other", name=shown(name, one, other))
    )


_OTHERS = ("torch_version", "peft_version", "trl_version", "deepspeed_version", "flash_attn_version")
RATERS: dict[str, Rater] = {**dict.fromkeys(_OTHERS, version), "transformers_version": transformers, "framework": framework}
