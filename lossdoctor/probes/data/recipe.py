"""How a run makes tokens and labels out of examples of some shape: from its facts, and the defaults of its trainer."""

from __future__ import annotations

import re

from lossdoctor.language import say
from lossdoctor.measured import Labels, Recipe, TooLong
from lossdoctor.model import Run
from lossdoctor.probes.data.shapes import Shape
from lossdoctor.tasks import PREFERENCE, SUPERVISED, task_of_run

#: What the trainers cut examples to where nobody states a length: `SFTConfig` and `DPOConfig`, LLaMA-Factory, axolotl.
LENGTHS = {"TRL": 1024, "LLaMA-Factory": 2048, "axolotl": 512}
#: TRL appends the end token to text since 0.16 (huggingface/trl#3091), and pads with a collator of its own, which leaves a real
#: end its label, since 0.18 at the latest; before 0.17 it used the one of transformers, which masks every padding id.
APPENDS_END, MASKED_BEFORE, OWN_COLLATOR = (0, 16), (0, 17), (0, 18)


def recipe_of(run: Run, shape: Shape, truncation_side: str = "right") -> Recipe:
    """The recipe of the run; what neither its facts nor a default say is left open."""
    tool = tool_of(run)
    labels, why = _labels(run, shape, tool)
    length, source = _length(run, tool)
    version = _version(run) if tool == "TRL" else None
    masks, masks_from = _padding(tool, version)
    adds = {"TRL": version is None or version >= APPENDS_END, "LLaMA-Factory": True, "axolotl": True}.get(tool)
    return Recipe(
        tool=tool,
        labels=labels,
        labels_from=why,
        max_length=length,
        length_from=source,
        too_long=_too_long(run, tool, truncation_side),
        adds_end=adds,
        masks_padding=masks,
        padding_from=masks_from,
        own_template=tool == "LLaMA-Factory",
        doubles_beginning=version is not None and version < MASKED_BEFORE,
    )


def tool_of(run: Run) -> str:
    """The trainer, as far as it decides about labels; empty where the facts do not say."""
    words = run.words("framework", "trainer")
    if "llama-factory" in words or "llamafactory" in words:
        return "LLaMA-Factory"
    if "axolotl" in words:
        return "axolotl"
    if any(name in words for name in ("trl", "sft", "unsloth")) or task_of_run(run) != SUPERVISED:
        return "TRL"
    stated = any(run.get(name) is not None for name in ("assistant_only_loss", "completion_only_loss", "trl_version"))
    return "TRL" if stated else ""


def translates_roles(run: Run) -> bool:
    """Whether human and gpt become user and assistant: TRL takes the roles as they are."""
    return tool_of(run) != "TRL"


def _labels(run: Run, shape: Shape, tool: str) -> tuple[Labels, str]:
    if shape.name == "preference pairs" or task_of_run(run) == PREFERENCE:
        return "answers", say("preference tuning scores the answers alone")
    if shape.name == "text":
        return "all", say("text has no prompt to be masked")
    if tool == "LLaMA-Factory" or tool == "axolotl":
        name = "train_on_prompt" if tool == "LLaMA-Factory" else "train_on_inputs"
        if run.get("train_on_prompt") is True:
            return "all", say("{name} is true", name=name)
        if "pretrain" in run.words("trainer"):
            return "all", say("the stage is pretraining")
        return "answers", say("{tool} masks the prompt unless {name} is true", tool=tool, name=name)
    if run.get("assistant_only_loss") is True:
        return "marked", say("assistant_only_loss is true")
    return _of_trl(run.get("completion_only_loss"), shape)


def _of_trl(stated: bool | None, shape: Shape) -> tuple[Labels, str]:
    if shape.name == "prompts with answers":
        if stated is True:
            return "answers", say("completion_only_loss is true")
        if stated is None and (shape.prompt, shape.answer) == ("prompt", "completion"):
            return "answers", say("TRL masks the prompt where there are columns prompt and completion")
    if stated is True:
        return "all", say(
            "completion_only_loss needs columns prompt and completion, and the data has {shape_name}", shape_name=shape.name
        )
    return "all", say("completion_only_loss is false") if stated is False else say("no setting masks the prompt")


def _length(run: Run, tool: str) -> tuple[int | None, str]:
    stated = run.get("max_length")
    if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0:
        name = {"LLaMA-Factory": "cutoff_len", "axolotl": "sequence_len"}.get(tool, "max_length")
        return stated, say("{name} is {stated:,}", name=name, stated=stated)
    if stated is None and tool in LENGTHS:
        return LENGTHS[tool], say("{tool} uses {lengths:,} where no length is stated", tool=tool, lengths=LENGTHS[tool])
    return None, ""


def _too_long(run: Run, tool: str, truncation_side: str) -> TooLong:
    if run.get("packing") is True and tool in ("TRL", ""):
        return "packed"
    if tool == "LLaMA-Factory":
        return "cut both"
    if tool == "axolotl":
        return "dropped"
    return "cut left" if tool == "" and truncation_side == "left" else "cut right"


def _padding(tool: str, version: tuple[int, ...] | None) -> tuple[bool | None, str]:
    if tool in ("LLaMA-Factory", "axolotl"):
        return False, ""
    if version is not None and version < MASKED_BEFORE:
        return True, say(
            "SFTTrainer of TRL {version} masks every label with the id of the padding token", version=".".join(map(str, version))
        )
    if version is not None and version >= OWN_COLLATOR:
        return False, ""
    return None, say("TRL masked these labels before 0.17, and no version of it is stated") if tool == "TRL" else ""


def _version(run: Run) -> tuple[int, ...] | None:
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(run.get("trl_version") or ""))
    return tuple(int(part) for part in match.groups() if part is not None) if match else None
