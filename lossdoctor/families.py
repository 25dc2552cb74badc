"""Model families whose numbers are known to be difficult, told from the model's name or type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lossdoctor.language import later
from lossdoctor.model import Run

TRAINED_IN_BF16 = later("it was trained in bf16")


@dataclass(frozen=True)
class Family:
    """A family by the pattern of its names, what is known of it in fp16, and which attention it needs."""

    name: str
    pattern: str
    fp16: str = ""
    attention: str = ""
    source: str = ""

    @property
    def overflows(self) -> bool:
        """Whether overflows in fp16 are known of it; of the others only that they were trained in bf16."""
        return self.fp16 not in ("", TRAINED_IN_BF16)


FAMILIES = (
    Family(
        "T5 / mT5",
        r"\b(?:u?mt5|t5|flan[-_]?t5|t5v1)",
        later("its feed-forward output reaches 66,246, above 65,504"),
        source="https://github.com/huggingface/transformers/issues/9295",
    ),
    Family(
        "Gemma", r"gemma", later("its activations exceed 65,504, the fp16 maximum"), "eager", "https://unsloth.ai/blog/gemma3"
    ),
    Family(
        "Qwen2",
        r"qwen[-_ ]?2",
        later("it was trained in bf16 and overflows in fp16"),
        later("sdpa or flash_attention_2"),
        "https://github.com/QwenLM/Qwen3/issues/670",
    ),
    Family("Qwen", r"qwen", TRAINED_IN_BF16, source="https://github.com/QwenLM/Qwen-VL/issues/352"),
    Family("GLM", r"\bglm|chatglm", TRAINED_IN_BF16, source="https://github.com/hiyouga/LlamaFactory/issues/4202"),
    Family("Baichuan 2", r"baichuan[-_ ]?2", TRAINED_IN_BF16),
    Family("Llama 2 / 3", r"llama[-_ ]?[23]|tiny[-_ ]?llama", TRAINED_IN_BF16),
    Family("Phi-2", r"phi[-_ ]?2\b", later("its attention scores overflow in fp16"), later("sdpa or flash_attention_2")),
    Family("Mistral", r"mistral|mixtral", TRAINED_IN_BF16),
)


def billions(run: Run) -> float | None:
    """How many billion parameters the name of the model claims; None where it says nothing."""
    name = str(run.get("model_name_or_path") or "")
    name = re.sub(r"(?<=\d)_(?=\d)", ".", name).replace("_", " ").replace("-", " ")  # 1_6b is 1.6b
    found = re.findall(r"(?<![\w.])(\d{1,4}(?:\.\d+)?)\s*([bBmM])(?![a-zA-Z0-9])", name)
    sizes = [float(number) / (1 if unit in "bB" else 1000) for number, unit in found]
    return max(sizes, default=None)


#: Vocabulary sizes of model families, from their config.json: the first pattern that matches the name.
VOCABULARIES = (
    (r"llama[-_ ]?3|llama[-_ ]?4", 128256),
    (r"mistral[-_ ]?nemo", 131072),
    (r"llama|mistral|mixtral|vicuna|alpaca|tiny[-_ ]?llama|zephyr", 32000),
    (r"qwen", 151936),
    (r"gemma[-_ ]?3", 262144),
    (r"gemma", 256000),
    (r"gpt[-_ ]?2", 50257),
    (r"falcon", 65024),
    (r"pythia|gpt[-_ ]?neox|polyglot", 50432),
    (r"opt[-_]\d", 50272),
    (r"bloom", 250880),
    (r"glm[-_ ]?4", 151552),
    (r"phi[-_ ]?2", 51200),
)


def vocabulary_of(run: Run) -> int | None:
    """The tokens that the model's family knows, told from its name; None where the name says nothing."""
    name = run.words("model_name_or_path")
    return next((size for pattern, size in VOCABULARIES if re.search(pattern, name)), None)


def family_of(run: Run) -> Family | None:
    """The first family that matches the name or the type of the model."""
    words = run.words("model_name_or_path", "model_type")
    return next((f for f in FAMILIES if re.search(f.pattern, words)), None)
