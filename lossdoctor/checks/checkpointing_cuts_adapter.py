from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.language import say
from lossdoctor.model import Finding, Severity
from lossdoctor.plan import Plan
from lossdoctor.remedies import non_reentrant
from lossdoctor.tasks import adapter


@dataclass(eq=False, repr=False)
class CheckpointingCutsAdapter(Check):
    """Gradient checkpointing may cut the adapter off from the loss.

    ## What it looks at
    Gradient checkpointing of the reentrant kind with an adapter on weights that are not quantised. A warning where
    `use_reentrant: true` is stated, a note where it is the default of transformers before 5. Inside a Trainer, whether the inputs
    ask for a gradient.

    ## Why it matters
    The reentrant kind passes no gradient on unless its inputs ask for one, and frozen embeddings do not: the adapter then learns
    nothing (https://github.com/huggingface/transformers/issues/26221, https://github.com/huggingface/peft/issues/1142).
    `prepare_model_for_kbit_training`, TRL, LLaMA-Factory, axolotl and transformers 5 see to it.

    ## What it misses
    Scripts that call `enable_input_require_grads()` by themselves, which no file shows.
    """

    title = "an adapter behind reentrant checkpointing"

    def look(self, plan: Plan) -> Finding | None:
        run, more = plan.run, plan.get("gradient_checkpointing_kwargs")
        reentrant = more.get("use_reentrant") if isinstance(more, dict) else None
        if run.get("gradient_checkpointing") is not True or not adapter(run) or reentrant is False or self._seen_to(plan):
            return None
        severity: Severity = "warning" if reentrant is True else "info"
        stated = say("use_reentrant: true") if reentrant else say("use_reentrant is not stated, and true before transformers 5")
        words = say("gradient checkpointing of the reentrant kind gives an adapter no gradient unless the inputs ask for one")
        return self.finding(severity, words, stated, remedies=(non_reentrant(),))

    @staticmethod
    def _seen_to(plan: Plan) -> bool:
        """Whether a tool makes the inputs ask for a gradient."""
        run, version = plan.run, str(plan.get("transformers_version") or "")
        tools = ("sft", "dpo", "grpo", "kto", "orpo", "reward", "llama-factory", "axolotl", "unsloth", "swift", "trl")
        words = run.words("framework", "trainer")
        new = version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 5
        return bool(run.get("quantization") or run.get("inputs_require_grads")) or new or any(tool in words for tool in tools)
