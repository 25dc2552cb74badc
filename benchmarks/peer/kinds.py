"""The families of faults in which every tool's names are understood, and which of them fit a simulated or trained kind."""

from __future__ import annotations

from collections.abc import Mapping

#: What a finding can speak of. One name may speak of several: the mapping is generous to all.
FAMILIES = (
    "not finite",  # a loss, gradient or weight that is NaN or infinite, even if the log shows something else
    "evaluation not finite",
    "zero loss",
    "spike",
    "divergence",
    "flat",  # a loss that does not move: plateau, chance, dead run
    "rate",  # a learning rate that is zero, stuck, too low or too high, and steps that were not taken
    "large gradient",
    "small gradient",
    "overfitting",
    "memorisation",
    "oscillation",
    "noise",
    "clipping",
    "converged",
    "still falling",
)

WORSE = ("spike", "divergence")
#: Any of these counts as the right name for a kind of benchmarks/simulator.py.
SIMULATED: Mapping[str, tuple[str, ...]] = {
    "nan_masked": ("not finite", "zero loss"),
    "lr_frozen": ("rate", "not finite"),
    "spike_recovering": WORSE,
    "spike_not_recovering": WORSE,
    "divergence": WORSE,
    "plateau_high": ("flat",),
    "stuck_at_chance": ("flat",),
    "chance_after_drop": ("flat",),
    "converged": ("converged", "flat"),
    "still_falling": ("still falling",),
    "overfit": ("overfitting",),
    "memorisation_stairs": ("memorisation", "overfitting"),
    "gradient_explosion": ("large gradient", *WORSE),
    "gradient_vanishing": ("small gradient", "flat"),
    "always_clipped": ("clipping", "large gradient"),
    "oscillation": ("oscillation", "spike"),
    "noisy": ("noise", "oscillation"),
}
