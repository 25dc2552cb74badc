from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.base import Check
from lossdoctor.budgets import chart_of, rank_and_modules
from lossdoctor.language import say
from lossdoctor.learning_rates import LORA
from lossdoctor.model import Finding
from lossdoctor.plan import Plan
from lossdoctor.tasks import REINFORCEMENT, adapter

#: What the layers of attention are called in the model families.
ATTENTION = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "qkv_proj", "query_key_value", "c_attn", "q", "k", "v", "o", "wqkv"),
    *("wq", "wk", "wv", "wo", "query", "key", "value", "in_proj", "w_pack"),
)


@dataclass(eq=False, repr=False)
class AttentionOnlyAdapter(Check):
    """The adapter changes the attention alone.

    ## What it looks at
    The names of the target modules: query, key, value and output projections, and nothing of the feed-forward layers.

    ## Why it matters
    Adapters on attention alone do worse even with as many parameters; the feed-forward layers matter most
    (https://thinkingmachines.ai/blog/lora/). It is a note: many good adapters are made so, and the default of PEFT is.

    ## What it misses
    Modules that are named by a pattern, and models whose layers are named in other ways.
    """

    title = "an adapter on attention alone"
    place = 9

    def look(self, plan: Plan) -> Finding | None:
        named = plan.get("lora_target_modules")
        if not isinstance(named, list) or not named or not adapter(plan.run) or plan.get("task") == REINFORCEMENT:
            return None
        if not all(str(name).rpartition(".")[2].lower() in ATTENTION for name in named):
            return None
        words = say("the adapter is put on {named} alone, all of attention", named=", ".join(map(str, named)))
        return self.finding(
            "info", words, say("measured: {first_lora}", first_lora=LORA[0]), remedies=rank_and_modules(chart_of(plan))
        )
