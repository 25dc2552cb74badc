"""`config.json`, as transformers saves it beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossdoctor.facts.canonical import translate
from lossdoctor.facts.files import mapping
from lossdoctor.model import Fact

#: What the width of the residual stream is called.
WIDTHS = ("hidden_size", "d_model", "n_embd")


def read(path: Path) -> dict[str, Fact]:
    """Model name and type, vocabulary, classes, weight type and attention of the model."""
    return translate(names(mapping(path)), "config.json")


def recognise(values: Mapping[str, Any]) -> bool:
    """By the classes that transformers writes into every one of them."""
    return isinstance(values.get("architectures"), list) and "model_type" in values and "learning_rate" not in values


def names(values: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers writes, under canonical names."""
    text = values.get("text_config")
    inner = text if isinstance(text, dict) else {}
    labels = values.get("id2label")
    classifies = "Classification" in str(values.get("architectures"))
    quantised = values.get("quantization_config")
    bits = "4bit" if isinstance(quantised, dict) and quantised.get("load_in_4bit") else None
    bits = "8bit" if isinstance(quantised, dict) and quantised.get("load_in_8bit") else bits
    return {
        "model_name_or_path": values.get("_name_or_path") or None,
        "model_type": values.get("model_type"),
        "vocab_size": values.get("vocab_size", inner.get("vocab_size")),
        "num_hidden_layers": values.get("num_hidden_layers", inner.get("num_hidden_layers", values.get("n_layer"))),
        "hidden_size": next((inside[n] for inside in (values, inner) for n in WIDTHS if inside.get(n)), None),
        "num_labels": len(labels) if isinstance(labels, dict) and classifies else None,
        "problem_type": values.get("problem_type"),
        "torch_dtype": values.get("dtype") or values.get("torch_dtype") or inner.get("dtype") or inner.get("torch_dtype"),
        "attn_implementation": values.get("_attn_implementation"),
        "quantization": bits,
        "transformers_version": values.get("transformers_version"),
    }
