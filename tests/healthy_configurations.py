"""Two hundred configurations as people publish them: defaults, recipes and guides, each in the dialect of its tool.

Numbers only, with the address of the recipe; models, GPUs and sizes of the data vary as they do among those who follow it. What
is known to be sick (see `tests/checks`) is not among them; what a recipe states is left as it is, also where it draws a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Variant = tuple[str, str, int]  # model, GPU, training examples


class Configuration(NamedTuple):
    """One of them: `content` is a mapping, or a command with flags."""

    source: str
    content: dict[str, Any] | str
    model: str
    gpu: str
    rows: int


class Recipe(NamedTuple):
    """A recipe with those who follow it; `key` is what its tool calls the model; `command` makes it a script with flags."""

    source: str
    settings: dict[str, Any]
    variants: tuple[Variant, ...]
    key: str = "model_name_or_path"
    command: str = ""


TRANSFORMERS = "https://github.com/huggingface/transformers/tree/main/examples/pytorch/"
TASKS = "https://huggingface.co/docs/transformers/tasks/"
TRL = "https://github.com/huggingface/trl/blob/main/"
HANDBOOK = "https://github.com/huggingface/alignment-handbook/tree/main/recipes/"
FACTORY = "https://github.com/hiyouga/LLaMA-Factory/tree/main/examples/"
AXOLOTL = "https://github.com/axolotl-ai-cloud/axolotl/tree/main/examples/"
UNSLOTH = "https://github.com/unslothai/notebooks"

LLAMA, QWEN, MISTRAL = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "mistralai/Mistral-7B-v0.1"
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

_GLUE = {"learning_rate": 2e-5, "per_device_train_batch_size": 32, "num_train_epochs": 3, "max_seq_length": 128}
_FACTORY = {
    "stage": "sft", "do_train": True, "finetuning_type": "lora", "lora_rank": 8, "lora_target": "all", "template": "llama3",
    "cutoff_len": 2048, "max_samples": 1000, "logging_steps": 10, "save_steps": 500, "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8, "learning_rate": 1e-4, "num_train_epochs": 3.0, "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1, "bf16": True,
}  # fmt: skip
_AXOLOTL = {
    "datasets": [{"path": "tatsu-lab/alpaca", "type": "alpaca"}], "val_set_size": 0.05, "sequence_len": 4096,
    "sample_packing": True, "adapter": "lora", "lora_r": 32, "lora_alpha": 16, "lora_dropout": 0.05, "lora_target_linear": True,
    "gradient_accumulation_steps": 4, "micro_batch_size": 2, "num_epochs": 4, "optimizer": "adamw_bnb_8bit",
    "lr_scheduler": "cosine", "learning_rate": 0.0002, "bf16": "auto", "tf32": False, "gradient_checkpointing": True,
    "logging_steps": 1, "flash_attention": True, "warmup_ratio": 0.1, "evals_per_epoch": 4, "saves_per_epoch": 1,
}  # fmt: skip
_HANDBOOK = {
    "bf16": True, "torch_dtype": "bfloat16", "attn_implementation": "flash_attention_2", "do_eval": True,
    "gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}, "logging_steps": 5,
    "logging_strategy": "steps", "lr_scheduler_type": "cosine", "max_steps": -1, "num_train_epochs": 1, "output_dir": "data",
    "save_strategy": "steps", "save_steps": 100, "save_total_limit": 1, "seed": 42, "warmup_ratio": 0.1,
}  # fmt: skip
_HANDBOOK_LORA = {"use_peft": True, "load_in_4bit": True, "lora_r": 16, "lora_alpha": 16, "lora_target_modules": ALL_LINEAR}
_TRL = {"num_train_epochs": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8, "gradient_checkpointing": True,
        "eval_strategy": "steps", "eval_steps": 100, "logging_steps": 25}  # fmt: skip
_TRL_LORA = {"use_peft": True, "lora_r": 32, "lora_alpha": 16}
_GUANACO = {
    "logging_steps": 10, "save_strategy": "steps", "save_steps": 500, "save_total_limit": 40, "evaluation_strategy": "steps",
    "group_by_length": True, "lora_r": 64, "lora_alpha": 16, "bf16": True, "bits": 4, "warmup_ratio": 0.03,
    "lr_scheduler_type": "constant", "gradient_checkpointing": True, "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 4, "max_steps": 1875, "eval_steps": 187, "learning_rate": 2e-4, "max_grad_norm": 0.3,
}  # fmt: skip
_UNSLOTH = {
    "load_in_4bit": True, "r": 16, "lora_alpha": 16, "target_modules": ALL_LINEAR, "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4, "warmup_steps": 5, "max_steps": 60, "learning_rate": 2e-4, "logging_steps": 1,
    "optim": "adamw_8bit", "weight_decay": 0.01, "lr_scheduler_type": "linear", "seed": 3407,
}  # fmt: skip
_BEST = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}


def _with(base: dict[str, Any], *without: str, **changes: Any) -> dict[str, Any]:
    return {**{name: value for name, value in base.items() if name not in without}, **changes}


RECIPES = (
    # scripts of transformers
    Recipe(TRANSFORMERS + "text-classification", _GLUE, (
        ("google-bert/bert-base-cased", "TITAN RTX", 8551), ("google-bert/bert-base-cased", "TITAN RTX", 67349),
        ("FacebookAI/roberta-base", "V100", 363849), ("distilbert/distilbert-base-uncased", "T4", 392702),
        ("microsoft/deberta-v3-base", "A100", 104743), ("google-bert/bert-base-cased", "TITAN RTX", 2490)),
        command="python run_glue.py"),
    Recipe(TRANSFORMERS + "text-classification", _with(_GLUE, num_train_epochs=5, fp16=True), (
        ("google-bert/bert-base-cased", "TITAN RTX", 3668), ("FacebookAI/roberta-large", "V100", 3668)),
        command="python run_glue.py"),
    Recipe(TRANSFORMERS + "question-answering",
        {"per_device_train_batch_size": 12, "learning_rate": 3e-5, "num_train_epochs": 2, "max_seq_length": 384}, (
        ("google-bert/bert-base-uncased", "V100", 88524), ("google-bert/bert-large-uncased-whole-word-masking", "8x V100", 88524),
        ("FacebookAI/roberta-base", "A100", 131944)), command="python run_qa.py"),
    Recipe(TRANSFORMERS + "language-modeling", {"per_device_train_batch_size": 8, "output_dir": "/tmp/test-clm"}, (
        ("openai-community/gpt2", "K80", 2318), ("openai-community/gpt2-medium", "V100", 2318),
        ("FacebookAI/roberta-base", "P100", 4798)), command="python run_clm.py"),
    Recipe(TRANSFORMERS + "token-classification", {"output_dir": "/tmp/test-ner"}, (
        ("google-bert/bert-base-uncased", "RTX 3090", 14041), ("dslim/distilbert-NER", "T4", 14041)),
        command="python run_ner.py"),
    Recipe(TRANSFORMERS + "multiple-choice",
        {"learning_rate": 5e-5, "num_train_epochs": 3, "per_device_train_batch_size": 16}, (
        ("FacebookAI/roberta-base", "4x V100", 73546),), command="python run_swag.py"),
    Recipe(TRANSFORMERS + "summarization", {"per_device_train_batch_size": 4, "predict_with_generate": True}, (
        ("google-t5/t5-small", "T4", 287113), ("facebook/bart-base", "V100", 204045)), command="python run_summarization.py"),
    Recipe(TRANSFORMERS + "translation", {"per_device_train_batch_size": 4, "predict_with_generate": True}, (
        ("google-t5/t5-small", "T4", 610320), ("facebook/mbart-large-en-ro", "A100", 610320)),
        command="python run_translation.py"),
    Recipe(TRANSFORMERS + "image-classification", {**_BEST, "learning_rate": 2e-5, "num_train_epochs": 5,
        "per_device_train_batch_size": 8, "logging_strategy": "steps", "logging_steps": 10, "save_total_limit": 3, "seed": 1337},
        (
        ("google/vit-base-patch16-224-in21k", "T4", 1034), ("facebook/convnext-tiny-224", "RTX 2080 Ti", 9469),
        ("microsoft/swin-base-patch4-window7-224-in22k", "A100", 20000)), command="python run_image_classification.py"),
    Recipe(TRANSFORMERS + "speech-recognition", {"num_train_epochs": 15, "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 2, "learning_rate": 3e-4, "warmup_steps": 500, "evaluation_strategy": "steps",
        "save_steps": 400, "eval_steps": 100, "logging_steps": 1, "save_total_limit": 3, "fp16": True, "group_by_length": True,
        "gradient_checkpointing": True}, (
        ("facebook/wav2vec2-large-xlsr-53", "V100", 3478), ("facebook/wav2vec2-xls-r-300m", "A100", 11000),
        ("facebook/hubert-large-ll60k", "V100", 7000)), command="python run_speech_recognition_ctc.py"),
    Recipe(TRANSFORMERS + "audio-classification", {**_BEST, "learning_rate": 3e-5, "num_train_epochs": 5, "fp16": True,
        "per_device_train_batch_size": 32, "warmup_ratio": 0.1, "logging_steps": 10, "save_total_limit": 3}, (
        ("facebook/wav2vec2-base", "V100", 51094), ("ntu-spml/distilhubert", "T4", 899)),
        command="python run_audio_classification.py"),
    # guides
    Recipe("https://huggingface.co/blog/fine-tune-whisper", {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1,
        "learning_rate": 1e-5, "warmup_steps": 500, "max_steps": 5000, "gradient_checkpointing": True, "fp16": True,
        "evaluation_strategy": "steps", "save_steps": 1000, "eval_steps": 1000, "logging_steps": 25,
        "load_best_model_at_end": True, "metric_for_best_model": "wer", "greater_is_better": False}, (
        ("openai/whisper-small", "T4", 6540), ("openai/whisper-medium", "A100", 12000), ("openai/whisper-large-v2", "A100",
        30000),
        ("openai/whisper-tiny", "T4", 3000))),
    Recipe("https://huggingface.co/blog/fine-tune-vit", {"per_device_train_batch_size": 16, "evaluation_strategy": "steps",
        "num_train_epochs": 4, "fp16": True, "save_steps": 100, "eval_steps": 100, "logging_steps": 10, "learning_rate": 2e-4,
        "save_total_limit": 2, "load_best_model_at_end": True}, (
        ("google/vit-base-patch16-224-in21k", "T4", 1034), ("facebook/deit-base-patch16-224", "V100", 5000))),
    Recipe("https://huggingface.co/blog/fine-tune-wav2vec2-english", {"per_device_train_batch_size": 32, "fp16": True,
        "evaluation_strategy": "steps", "num_train_epochs": 30, "gradient_checkpointing": True, "save_steps": 500,
        "eval_steps": 500,
        "logging_steps": 500, "learning_rate": 1e-4, "weight_decay": 0.005, "warmup_steps": 1000, "save_total_limit": 2}, (
        ("facebook/wav2vec2-base", "V100", 4620),)),
    Recipe(TASKS + "sequence_classification", {**_BEST, "learning_rate": 2e-5, "per_device_train_batch_size": 16,
        "num_train_epochs": 2, "weight_decay": 0.01, "logging_steps": 500}, (
        ("distilbert/distilbert-base-uncased", "T4", 25000), ("microsoft/MiniLM-L12-H384-uncased", "L4", 120000))),
    Recipe(TASKS + "token_classification", {**_BEST, "learning_rate": 2e-5, "per_device_train_batch_size": 16,
        "num_train_epochs": 2, "weight_decay": 0.01}, (("distilbert/distilbert-base-uncased", "T4", 3394),)),
    Recipe(TASKS + "question_answering", {"eval_strategy": "epoch", "learning_rate": 2e-5, "per_device_train_batch_size": 16,
        "num_train_epochs": 3, "weight_decay": 0.01}, (("distilbert/distilbert-base-uncased", "T4", 4000),)),
    Recipe(TASKS + "summarization", {"eval_strategy": "epoch", "learning_rate": 2e-5, "per_device_train_batch_size": 16,
        "weight_decay": 0.01, "save_total_limit": 3, "num_train_epochs": 4, "fp16": True}, (
        ("google-t5/t5-small", "T4", 989), ("facebook/bart-large-cnn", "A100", 14732))),
    Recipe(TASKS + "language_modeling", {"eval_strategy": "epoch", "learning_rate": 2e-5, "weight_decay": 0.01}, (
        ("distilbert/distilgpt2", "T4", 7500), ("distilbert/distilroberta-base", "V100", 7500))),
    Recipe(TASKS + "semantic_segmentation", {"learning_rate": 6e-5, "num_train_epochs": 50, "per_device_train_batch_size": 2,
        "save_total_limit": 3, "eval_strategy": "steps", "save_strategy": "steps", "save_steps": 20, "eval_steps": 20,
        "logging_steps": 1}, (("nvidia/mit-b0", "T4", 40), ("nvidia/mit-b3", "RTX 4090", 800))),
    Recipe(TASKS + "object_detection", {"per_device_train_batch_size": 8, "num_train_epochs": 30, "learning_rate": 5e-5,
        "weight_decay": 1e-4, "max_grad_norm": 0.01, "metric_for_best_model": "eval_map", "greater_is_better": True,
        "load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": 2}, (
        ("microsoft/conditional-detr-resnet-50", "A10G", 850),)),
    Recipe(TASKS + "image_captioning", {"learning_rate": 5e-5, "num_train_epochs": 50, "fp16": True,
        "per_device_train_batch_size": 32, "gradient_accumulation_steps": 2, "save_total_limit": 3, "eval_strategy": "steps",
        "eval_steps": 50, "save_strategy": "steps", "save_steps": 50, "logging_steps": 50, "load_best_model_at_end": True}, (
        ("microsoft/git-base", "V100", 749),)),
    # TRL
    Recipe(TRL + "trl/scripts/sft.py", _with(_TRL, learning_rate=2e-5, packing=True), (
        ("Qwen/Qwen2-0.5B", "RTX 4090", 15806), ("Qwen/Qwen2.5-1.5B", "A100", 60000), ("HuggingFaceTB/SmolLM2-360M", "L4",
        120000),
        ("meta-llama/Llama-3.2-1B", "A100", 15806)), command="trl sft"),
    Recipe(TRL + "trl/scripts/sft.py", _with({**_TRL, **_TRL_LORA}, learning_rate=2e-4, packing=True, bf16=True), (
        ("Qwen/Qwen2-0.5B", "RTX 3090", 15806), (LLAMA, "A100", 15806), (MISTRAL, "A10G", 9846),
        ("google/gemma-2-2b", "L4", 15806)), command="python trl/scripts/sft.py"),
    Recipe(TRL + "trl/scripts/dpo.py", _with(_TRL, trainer="dpo", learning_rate=5e-7, bf16=True, eval_steps=50), (
        ("Qwen/Qwen2-0.5B-Instruct", "A100", 62135), (QWEN, "8x H100", 62135)), command="trl dpo"),
    Recipe(TRL + "trl/scripts/dpo.py", _with({**_TRL, **_TRL_LORA}, trainer="dpo", learning_rate=5e-6, bf16=True, eval_steps=50),
        (
        ("Qwen/Qwen2-0.5B-Instruct", "RTX 4090", 62135), (LLAMA, "A100", 20000)), command="trl dpo"),
    Recipe(TRL + "trl/scripts/kto.py", _with(_TRL, trainer="kto", learning_rate=5e-7, lr_scheduler_type="cosine", bf16=True,
        per_device_train_batch_size=16, gradient_accumulation_steps=1, eval_steps=500, warmup_ratio=0.1), (
        ("trl-lib/qwen1.5-1.8b-sft", "A100", 13000),), command="trl kto"),
    Recipe(TRL + "examples/scripts/orpo.py", {"trainer": "orpo", "per_device_train_batch_size": 4, "max_steps": 1000,
        "learning_rate": 8e-5, "gradient_accumulation_steps": 1, "logging_steps": 10, "eval_steps": 500, "warmup_steps": 150,
        "bf16": True, "use_peft": True, "lora_r": 16, "lora_alpha": 16, "optim": "rmsprop"}, (
        ("openai-community/gpt2", "RTX 3090", 160800),), command="python examples/scripts/orpo.py"),
    Recipe(TRL + "trl/scripts/reward.py", {"trainer": "reward", "per_device_train_batch_size": 8, "num_train_epochs": 1,
        "gradient_checkpointing": True, "learning_rate": 1e-5, "eval_strategy": "steps", "eval_steps": 50, "bf16": True}, (
        ("Qwen/Qwen2-0.5B-Instruct", "A100", 62135),), command="trl reward"),
    Recipe(TRL + "docs/source/grpo_trainer.md", {"trainer": "grpo", "learning_rate": 1e-6, "num_generations": 8, "bf16": True,
        "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "logging_steps": 10, "gradient_checkpointing": True},
        (
        ("Qwen/Qwen2-0.5B-Instruct", "8x A100", 116722), ("Qwen/Qwen2.5-7B", "8x H100", 103000)), command="trl grpo"),
    Recipe("https://github.com/huggingface/open-r1/tree/main/recipes", _with(_HANDBOOK, learning_rate=2e-5, num_generations=7,
        eval_strategy="steps", eval_steps=100, gradient_accumulation_steps=16, per_device_train_batch_size=16, logging_steps=1,
        save_strategy="epoch"), (("Qwen/Qwen2.5-1.5B-Instruct", "8x H100", 72441),)),
    # alignment-handbook
    Recipe(HANDBOOK + "zephyr-7b-beta/sft", _with(_HANDBOOK, eval_strategy="epoch", gradient_accumulation_steps=1,
        learning_rate=2e-5, max_seq_length=2048, per_device_train_batch_size=16), (
        (MISTRAL, "8x A100", 207865), ("google/gemma-7b", "8x H100", 207865))),
    Recipe(HANDBOOK + "zephyr-7b-beta/sft", _with({**_HANDBOOK, **_HANDBOOK_LORA}, eval_strategy="epoch", learning_rate=2e-4,
        gradient_accumulation_steps=2, per_device_train_batch_size=4, max_seq_length=2048), (
        (MISTRAL, "RTX 4090", 207865), (LLAMA, "A100", 50000), (QWEN, "L40S", 20000))),
    Recipe(HANDBOOK + "zephyr-7b-beta/dpo", _with(_HANDBOOK, beta=0.01, eval_strategy="steps", eval_steps=100, learning_rate=5e-7,
        gradient_accumulation_steps=2, per_device_train_batch_size=8, max_length=1024, logging_steps=10), (
        ("alignment-handbook/zephyr-7b-sft-full", "8x A100", 61135), ("allenai/Llama-3.1-Tulu-3-8B-SFT", "8x H100", 270000))),
    Recipe(HANDBOOK + "zephyr-7b-beta/dpo", _with({**_HANDBOOK, **_HANDBOOK_LORA}, torch_dtype="float16", beta=0.01,
        evaluation_strategy="steps", eval_steps=100, learning_rate=5e-6, gradient_accumulation_steps=1,
        per_device_train_batch_size=4, optim="paged_adamw_32bit"), (
        ("alignment-handbook/zephyr-7b-sft-qlora", "8x A100", 61135), ("alignment-handbook/zephyr-7b-sft-qlora", "RTX 4090",
        7000))),
    Recipe(HANDBOOK + "smollm2/sft", _with(_HANDBOOK, "save_steps", "save_total_limit", eval_strategy="epoch", max_length=8192,
        gradient_accumulation_steps=4, learning_rate=3e-4, num_train_epochs=2, per_device_train_batch_size=4,
        save_strategy="no"), (("HuggingFaceTB/SmolLM2-1.7B", "8x H100", 1043917), ("HuggingFaceTB/SmolLM2-360M", "8x H100",
        460000))),
    Recipe(HANDBOOK + "mistral-capybara/orpo", _with(_HANDBOOK, "save_steps", "save_total_limit", "warmup_ratio", beta=0.05,
        gradient_accumulation_steps=1, gradient_checkpointing_kwargs={"use_reentrant": True}, learning_rate=5e-6,
        logging_steps=10,
        lr_scheduler_type="inverse_sqrt", num_train_epochs=3, optim="adamw_bnb_8bit", per_device_train_batch_size=8,
        save_strategy="no", warmup_steps=100), ((MISTRAL, "4x A100", 7563), ("Qwen/Qwen2.5-7B", "A100", 7563))),
    Recipe(HANDBOOK + "gpt2-nl/cpt", _with(_HANDBOOK, "attn_implementation", do_eval=False, eval_strategy="no",
        learning_rate=2e-4,
        gradient_accumulation_steps=1, max_seq_length=1024, per_device_train_batch_size=16), (
        ("openai-community/gpt2", "4x A100", 1500000),)),
    # LLaMA-Factory
    Recipe(FACTORY + "train_lora", _FACTORY, (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "A100", 1091), (QWEN, "RTX 4090", 51000), ("THUDM/glm-4-9b-chat", "A100", 20000),
        ("google/gemma-2-9b-it", "L40S", 5000), ("01-ai/Yi-1.5-9B-Chat", "RTX 3090", 2000), ("internlm/internlm2_5-7b-chat",
        "A800", 8000))),
    Recipe(FACTORY + "train_qlora", _with(_FACTORY, quantization_bit=4), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "RTX 4090", 1091), ("Qwen/Qwen2-72B-Instruct", "2x A100", 10000),
        ("Qwen/Qwen2.5-32B-Instruct", "A100", 4000))),
    Recipe(FACTORY + "extras/fsdp_qlora", _with(_FACTORY, "bf16", fp16=True, lora_target="q_proj,v_proj", cutoff_len=1024,
        val_size=0.1, eval_strategy="steps", eval_steps=500, quantization_bit=4), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "2x RTX 3090", 1091),)),
    Recipe(FACTORY + "train_lora", _with(_FACTORY, stage="dpo", learning_rate=5e-6, pref_beta=0.1, pref_loss="sigmoid"), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "A100", 300), (QWEN, "A100", 10000), ("Qwen/Qwen2-VL-7B-Instruct", "A100",
        3000))),
    Recipe(FACTORY + "train_lora", _with(_FACTORY, stage="kto", learning_rate=5e-6, pref_beta=0.1), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "A100", 300),)),
    Recipe(FACTORY + "train_lora", _with(_FACTORY, stage="ppo", learning_rate=1e-5, reward_model="saves/reward"), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "A100", 1000),)),
    Recipe(FACTORY + "train_lora", _with(_FACTORY, stage="rm"), (("meta-llama/Meta-Llama-3-8B-Instruct", "A100", 300),)),
    Recipe(FACTORY + "train_lora", _with(_FACTORY, stage="pt"), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "A100", 1000), ("Qwen/Qwen2.5-7B", "A100", 50000))),
    Recipe(FACTORY + "train_full", _with(_FACTORY, "lora_rank", "lora_target", finetuning_type="full", learning_rate=1e-5,
        gradient_accumulation_steps=2, deepspeed="examples/deepspeed/ds_z3_config.json"), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "8x A100", 1091), ("Qwen/Qwen2.5-7B", "8x H100", 100000),
        ("Qwen/Qwen2.5-0.5B-Instruct", "2x RTX 4090", 10000), (MISTRAL, "4x A100", 52000))),
    Recipe(FACTORY + "extras/galore", _with(_FACTORY, "lora_rank", "lora_target", "bf16", finetuning_type="full", use_galore=True,
        learning_rate=1e-4, gradient_accumulation_steps=1, pure_bf16=True), (
        ("meta-llama/Meta-Llama-3-8B-Instruct", "RTX 4090", 1091),)),
    Recipe(FACTORY + "extras/llama_pro", _with(_FACTORY, "lora_rank", "lora_target", finetuning_type="freeze",
        freeze_trainable_layers=8, use_llama_pro=True), (("models/llama3-8b-pro", "A100", 1091),)),
    # axolotl
    Recipe(AXOLOTL + "llama-3", _with(_AXOLOTL, load_in_8bit=True), (
        ("NousResearch/Meta-Llama-3-8B", "A100", 2000), ("NousResearch/Meta-Llama-3.1-8B", "RTX 4090", 52002)), "base_model"),
    Recipe(AXOLOTL + "llama-3", _with(_AXOLOTL, load_in_4bit=True, adapter="qlora", optimizer="paged_adamw_32bit"), (
        ("NousResearch/Meta-Llama-3-8B", "RTX 3090", 20000), ("casperhansen/llama-3-70b-fp16", "2x A100", 52002)), "base_model"),
    Recipe(AXOLOTL + "llama-3", _with(_AXOLOTL, "adapter", "lora_r", "lora_alpha", "lora_dropout", "lora_target_linear",
        "warmup_ratio", learning_rate=2e-5, num_epochs=1, gradient_accumulation_steps=8, micro_batch_size=1, warmup_steps=100,
        optimizer="paged_adamw_8bit", evals_per_epoch=2, sequence_len=8192), (
        ("meta-llama/Meta-Llama-3-8B", "8x A100", 52002), ("meta-llama/Meta-Llama-3-8B", "A100", 52002)), "base_model"),
    Recipe(AXOLOTL + "llama-2/fft_optimized.yml", _with(_AXOLOTL, "adapter", "lora_r", "lora_alpha", "lora_dropout",
        "lora_target_linear", num_epochs=1, gradient_accumulation_steps=1, micro_batch_size=1, weight_decay=0.1), (
        ("NousResearch/Llama-2-7b-hf", "A100", 2000),), "base_model"),
    Recipe(AXOLOTL + "llama-2", _with(_AXOLOTL, load_in_4bit=True, adapter="qlora", lora_r=32, optimizer="paged_adamw_32bit"), (
        ("NousResearch/Llama-2-7b-hf", "RTX 3090", 2000), ("NousResearch/Llama-2-13b-hf", "A6000", 15000)), "base_model"),
    Recipe(AXOLOTL + "mistral", _with(_AXOLOTL, "adapter", "lora_r", "lora_alpha", "lora_dropout", "lora_target_linear",
        learning_rate=0.000005, micro_batch_size=2, sequence_len=8192), ((MISTRAL, "8x A100", 52002),), "base_model"),
    Recipe(AXOLOTL + "mistral", _with(_AXOLOTL, load_in_4bit=True, adapter="qlora", num_epochs=1, loss_watchdog_threshold=5.0), (
        (MISTRAL, "RTX 4090", 2000), ("mistralai/Mixtral-8x7B-v0.1", "2x A100", 20000)), "base_model"),
    Recipe(AXOLOTL + "archived/falcon", _with(_AXOLOTL, "flash_attention", "sample_packing", "warmup_ratio", load_in_4bit=True,
        adapter="qlora", lora_r=64, micro_batch_size=1, gradient_accumulation_steps=2, tf32=True, early_stopping_patience=3,
        xformers_attention=True, warmup_steps=10, optimizer="paged_adamw_32bit", sequence_len=2048), (
        ("tiiuae/falcon-7b", "A6000", 7473),), "base_model"),
    Recipe(AXOLOTL + "archived/pythia", _with(_AXOLOTL, "flash_attention", "sample_packing", "lora_target_linear", "optimizer",
        "lr_scheduler", "warmup_ratio", "saves_per_epoch", "gradient_checkpointing", load_in_8bit=True, lora_r=16, lora_alpha=32,
        lora_target_modules=["query_key_value"], gradient_accumulation_steps=1, micro_batch_size=4, learning_rate=1e-5,
        tf32=True), (
        ("EleutherAI/pythia-1.4b-deduped", "A10G", 52000),), "base_model"),
    Recipe(AXOLOTL + "archived/openllama-3b", _with(_AXOLOTL, "adapter", "lora_r", "lora_alpha", "lora_dropout",
        "lora_target_linear", learning_rate=0.000003, gradient_accumulation_steps=1, micro_batch_size=1, sequence_len=1024,
        bf16=False, fp16=False, float16=True), (("openlm-research/open_llama_3b_v2", "A100", 54000),), "base_model"),
    Recipe(AXOLOTL + "archived/stablelm-2", _with(_AXOLOTL, "adapter", "lora_r", "lora_alpha", "lora_dropout",
        "lora_target_linear", num_epochs=1, gradient_accumulation_steps=1, micro_batch_size=1, weight_decay=0.1), (
        ("stabilityai/stablelm-2-1_6b", "RTX 4090", 2000),), "base_model"),
    Recipe(AXOLOTL + "archived/tiny-llama", _with(_AXOLOTL, load_in_8bit=True), (
        ("TinyLlama/TinyLlama_v1.1", "RTX 3090", 2000), ("TinyLlama/TinyLlama_v1.1", "L4", 52002)), "base_model"),
    Recipe(AXOLOTL + "gemma3", _with(_AXOLOTL, load_in_4bit=True, adapter="qlora", lora_dropout=0, num_epochs=1, bf16=True,
        tf32=True, gradient_checkpointing_kwargs={"use_reentrant": False}, evals_per_epoch=1), (
        ("google/gemma-3-4b-it", "A100", 363491), ("google/gemma-3-1b-it", "RTX 3090", 50000)), "base_model"),
    Recipe(AXOLOTL + "qwen2", _with(_AXOLOTL, load_in_4bit=True, adapter="qlora", lora_r=32, lora_alpha=64, micro_batch_size=1), (
        ("Qwen/Qwen2-7B", "A100", 2000), ("Qwen/Qwen2.5-14B", "A100", 20000), ("Qwen/Qwen2.5-3B", "RTX 4090", 52002)),
        "base_model"),
    Recipe(AXOLOTL + "archived/code-llama", _with(_AXOLOTL, load_in_8bit=True), (
        ("codellama/CodeLlama-7b-hf", "A10G", 2000), ("codellama/CodeLlama-34b-hf", "2x A100", 2000)), "base_model"),
    # QLoRA
    Recipe("https://github.com/artidoro/qlora/tree/main/scripts", _GUANACO, (
        ("huggyllama/llama-7b", "RTX 3090", 9846), ("huggyllama/llama-13b", "A6000", 9846), ("meta-llama/Llama-2-7b-hf", "A10G",
        9846)),
        command="python qlora.py"),
    Recipe("https://github.com/artidoro/qlora/tree/main/scripts", _with(_GUANACO, learning_rate=1e-4,
        gradient_accumulation_steps=16,
        per_device_train_batch_size=1), (("huggyllama/llama-65b", "A100", 9846), ("huggyllama/llama-30b", "A100", 9846)),
        command="python qlora.py"),
    # Unsloth
    Recipe(UNSLOTH, _with(_UNSLOTH, fp16=True, bf16=False), (
        ("unsloth/Meta-Llama-3.1-8B", "T4", 51760), ("unsloth/mistral-7b-v0.3-bnb-4bit", "T4", 51760),
        ("unsloth/gemma-2-9b", "T4", 51760), ("unsloth/Qwen2.5-7B", "T4", 51760), ("unsloth/Phi-3.5-mini-instruct", "T4",
        100000))),
    Recipe(UNSLOTH, _with(_UNSLOTH, "max_steps", fp16=False, bf16=True, num_train_epochs=1), (
        ("unsloth/Llama-3.2-3B-Instruct", "L4", 100000), ("unsloth/Qwen2.5-14B-Instruct", "A100", 15000),
        ("unsloth/Qwen3-14B", "A100", 2000))),
    Recipe(UNSLOTH, _with(_UNSLOTH, "max_steps", trainer="DPOTrainer", r=64, lora_alpha=64, learning_rate=5e-6,
        num_train_epochs=3,
        warmup_ratio=0.1, warmup_steps=0, weight_decay=0.0, beta=0.1, fp16=True, bf16=False), (
        ("unsloth/zephyr-sft-bnb-4bit", "T4", 310),)),
    Recipe(UNSLOTH, _with(_UNSLOTH, trainer="GRPOTrainer", r=32, lora_alpha=32, learning_rate=5e-6, warmup_ratio=0.1,
        warmup_steps=0, lr_scheduler_type="cosine", num_generations=6, max_steps=250, save_steps=250, max_grad_norm=0.1,
        bf16=False, fp16=True, per_device_train_batch_size=1), (("unsloth/Llama-3.1-8B-Instruct", "T4", 7473),)),
    Recipe(UNSLOTH, _with(_UNSLOTH, "max_steps", r=128, lora_alpha=32, use_rslora=True, learning_rate=5e-5, num_train_epochs=1,
        warmup_steps=10, gradient_accumulation_steps=8, target_modules=[*ALL_LINEAR, "embed_tokens", "lm_head"], bf16=True,
        fp16=False), (("unsloth/mistral-7b-v0.3", "L4", 60000),)),
    # well-known models and scripts
    Recipe("https://github.com/tatsu-lab/stanford_alpaca", {"bf16": True, "num_train_epochs": 3, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 8, "evaluation_strategy": "no", "save_strategy": "steps", "save_steps": 2000,
        "save_total_limit": 1, "learning_rate": 2e-5, "warmup_ratio": 0.03, "lr_scheduler_type": "cosine", "logging_steps": 1,
        "tf32": True}, (("huggyllama/llama-7b", "4x A100", 52002), ("facebook/opt-6.7b", "4x A100", 52002)),
        command="torchrun --nproc_per_node=4 train.py"),
    Recipe("https://github.com/lm-sys/FastChat", {"bf16": True, "num_train_epochs": 3, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 16, "evaluation_strategy": "no", "save_strategy": "steps", "save_steps": 1200,
        "save_total_limit": 10, "learning_rate": 2e-5, "warmup_ratio": 0.03, "lr_scheduler_type": "cosine", "logging_steps": 1,
        "tf32": True, "gradient_checkpointing": True}, (("meta-llama/Llama-2-7b-hf", "4x A100", 125000),),
        command="torchrun --nproc_per_node=4 fastchat/train/train_mem.py"),
    Recipe("https://github.com/tloen/alpaca-lora", {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 32,
        "warmup_steps": 100, "num_train_epochs": 3, "learning_rate": 3e-4, "fp16": True, "logging_steps": 10,
        "optim": "adamw_torch", "evaluation_strategy": "steps", "save_strategy": "steps", "eval_steps": 200, "save_steps": 200,
        "save_total_limit": 3, "load_best_model_at_end": True, "load_in_8bit": True, "lora_r": 8, "lora_alpha": 16,
        "lora_target_modules": ["q_proj", "v_proj"]}, (
        ("decapoda-research/llama-7b-hf", "RTX 4090", 49759), ("decapoda-research/llama-13b-hf", "A100", 49759))),
    Recipe("https://github.com/haotian-liu/LLaVA", {"lora_r": 128, "lora_alpha": 256, "bf16": True, "num_train_epochs": 1,
        "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2, "evaluation_strategy": "no",
        "save_strategy": "steps",
        "save_steps": 50000, "save_total_limit": 1, "learning_rate": 2e-4, "warmup_ratio": 0.03, "lr_scheduler_type": "cosine",
        "logging_steps": 1, "tf32": True, "model_max_length": 2048, "gradient_checkpointing": True}, (
        ("lmsys/vicuna-13b-v1.5", "4x A100", 665298), ("lmsys/vicuna-7b-v1.5", "4x A100", 665298)),
        command="deepspeed train_mem.py"),
    Recipe("https://github.com/QwenLM/Qwen", {"bf16": True, "num_train_epochs": 5, "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16, "evaluation_strategy": "no", "save_strategy": "steps", "save_steps": 1000,
        "save_total_limit": 10, "learning_rate": 1e-5, "weight_decay": 0.1, "adam_beta2": 0.95, "warmup_ratio": 0.01,
        "lr_scheduler_type": "cosine", "logging_steps": 1, "gradient_checkpointing": True}, (
        ("Qwen/Qwen-7B", "8x A100", 20000),), command="torchrun --nproc_per_node=8 finetune.py"),
    Recipe("https://github.com/QwenLM/Qwen", {"bf16": True, "num_train_epochs": 5, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8, "evaluation_strategy": "no", "save_strategy": "steps", "save_steps": 1000,
        "save_total_limit": 10, "learning_rate": 3e-4, "warmup_ratio": 0.01, "lr_scheduler_type": "cosine", "logging_steps": 1,
        "gradient_checkpointing": True, "use_lora": True, "lora_r": 64, "lora_alpha": 16}, (
        ("Qwen/Qwen-7B-Chat", "A100", 8000), ("Qwen/Qwen-14B-Chat", "A100", 30000)), command="python finetune.py"),
    Recipe("https://github.com/huggingface/peft/tree/main/examples/int8_training", {"per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4, "warmup_steps": 100, "max_steps": 200, "learning_rate": 2e-4, "fp16": True,
        "logging_steps": 1, "load_in_8bit": True, "lora_r": 16, "lora_alpha": 32, "lora_target_modules": ["q_proj", "v_proj"]}, (
        ("facebook/opt-6.7b", "T4", 2508),)),
    Recipe("https://github.com/bigcode-project/starcoder", {"max_steps": 1000, "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16, "learning_rate": 1e-4, "lr_scheduler_type": "cosine", "warmup_steps": 100,
        "weight_decay": 0.05, "lora_r": 16, "lora_alpha": 32, "bf16": True, "eval_strategy": "steps", "eval_steps": 100,
        "save_steps": 100, "logging_steps": 25, "load_in_8bit": True, "gradient_checkpointing": True}, (
        ("bigcode/starcoder", "A100", 20000), ("bigcode/starcoder2-7b", "A100", 50000))),
    Recipe("https://www.philschmid.de/instruction-tune-llama-2", {"num_train_epochs": 3, "per_device_train_batch_size": 6,
        "gradient_accumulation_steps": 2, "gradient_checkpointing": True, "optim": "paged_adamw_32bit", "logging_steps": 10,
        "save_strategy": "epoch", "learning_rate": 2e-4, "bf16": True, "tf32": True, "max_grad_norm": 0.3, "warmup_ratio": 0.03,
        "lr_scheduler_type": "constant", "load_in_4bit": True, "lora_r": 64, "lora_alpha": 16}, (
        ("NousResearch/Llama-2-7b-hf", "A10G", 15011), ("codellama/CodeLlama-7b-hf", "RTX 4090", 10000), (LLAMA, "L4", 10000))),
    Recipe("https://www.philschmid.de/fine-tune-flan-t5-peft", {"learning_rate": 1e-3, "num_train_epochs": 5,
        "auto_find_batch_size": True, "logging_strategy": "steps", "logging_steps": 500, "save_strategy": "no", "lora_r": 16,
        "lora_alpha": 32, "lora_target_modules": ["q", "v"], "load_in_8bit": True}, (("philschmid/flan-t5-xxl-sharded-fp16",
        "A10G", 14732),)),
    Recipe("https://mlabonne.github.io/blog/posts/Fine_Tune_Your_Own_Llama_2_Model_in_a_Colab_Notebook.html",
        {"num_train_epochs": 1,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "optim": "paged_adamw_32bit", "save_steps": 0,
        "logging_steps": 25, "learning_rate": 2e-4, "weight_decay": 0.001, "fp16": False, "bf16": False, "max_grad_norm": 0.3,
        "max_steps": -1, "warmup_ratio": 0.03, "group_by_length": True, "lr_scheduler_type": "cosine", "lora_r": 64,
        "lora_alpha": 16, "load_in_4bit": True}, (("NousResearch/Llama-2-7b-chat-hf", "T4", 1000),)),
    Recipe("https://huggingface.co/microsoft/Phi-3-mini-4k-instruct/blob/main/sample_finetune.py", {"bf16": True,
        "do_eval": False,
        "learning_rate": 5.0e-06, "logging_steps": 20, "lr_scheduler_type": "cosine", "num_train_epochs": 1, "max_steps": -1,
        "per_device_train_batch_size": 4, "save_steps": 100, "save_total_limit": 1, "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False}, "gradient_accumulation_steps": 1, "warmup_ratio": 0.2,
        "lora_r": 16, "lora_alpha": 32, "lora_target_modules": "all-linear", "packing": True}, (
        ("microsoft/Phi-3-mini-4k-instruct", "A100", 207865),)),
    Recipe("https://huggingface.co/blog/gemma-peft", {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4,
        "warmup_steps": 2, "max_steps": 10, "learning_rate": 2e-4, "fp16": True, "logging_steps": 1, "optim": "paged_adamw_8bit",
        "lora_r": 8, "lora_alpha": 8, "load_in_4bit": True, "lora_target_modules": ALL_LINEAR}, (("google/gemma-2b", "A100",
        2508),)),
    Recipe("https://github.com/databrickslabs/dolly", {"num_train_epochs": 2, "learning_rate": 5e-6, "bf16": True,
        "per_device_train_batch_size": 6, "gradient_checkpointing": True, "logging_steps": 10, "save_steps": 200,
        "save_total_limit": 20, "eval_strategy": "steps", "eval_steps": 50, "load_best_model_at_end": False,
        "deepspeed": {"bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 3, "overlap_comm": True,
        "contiguous_gradients": True}, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}}, (
        ("EleutherAI/pythia-6.9b", "8x A100", 15011), ("EleutherAI/pythia-2.8b", "4x A10", 15011))),
    Recipe("https://huggingface.co/docs/transformers/deepspeed", {"learning_rate": 3e-5, "num_train_epochs": 1, "fp16": True,
        "per_device_train_batch_size": 8, "logging_steps": 50, "eval_strategy": "epoch",
        "deepspeed": {"fp16": {"enabled": "auto"}, "zero_optimization": {"stage": 2, "allgather_partitions": True,
        "overlap_comm": True, "reduce_scatter": True, "contiguous_gradients": True}, "gradient_clipping": "auto"}}, (
        ("facebook/bart-large", "2x V100", 287113),)),
    Recipe("https://github.com/meta-llama/llama-cookbook", {"learning_rate": 1e-4, "weight_decay": 0.0, "num_train_epochs": 3,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "use_peft": True, "lora_r": 8, "lora_alpha": 32,
        "lora_target_modules": ["q_proj", "v_proj"], "quantization": "8bit"}, (
        ("meta-llama/Llama-2-7b-hf", "A10G", 14732), (LLAMA, "A100", 14732))),
    Recipe("https://github.com/THUDM/ChatGLM3/tree/main/finetune_demo", {"learning_rate": 5e-5, "max_steps": 3000, "bf16": True,
        "per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 500, "logging_strategy": "steps",
        "logging_steps": 10, "evaluation_strategy": "steps", "eval_steps": 500, "lora_r": 8, "lora_alpha": 32,
        "lora_dropout": 0.1}, (("THUDM/chatglm3-6b", "RTX 3090", 114599),)),
    # more guides and model cards
    Recipe("https://huggingface.co/learn/llm-course/chapter7/4", {"eval_strategy": "no", "save_strategy": "epoch", "fp16": True,
        "learning_rate": 2e-5, "per_device_train_batch_size": 32, "weight_decay": 0.01, "save_total_limit": 3,
        "num_train_epochs": 3}, (("Helsinki-NLP/opus-mt-en-fr", "T4", 189155), ("Helsinki-NLP/opus-mt-en-de", "V100", 210000))),
    Recipe("https://huggingface.co/learn/llm-course/chapter7/5", {"eval_strategy": "epoch", "learning_rate": 5.6e-5,
        "per_device_train_batch_size": 8, "weight_decay": 0.01, "save_total_limit": 3, "num_train_epochs": 8,
        "logging_steps": 1209}, (("google/mt5-small", "T4", 9672),)),
    Recipe("https://huggingface.co/learn/llm-course/chapter7/3", {"eval_strategy": "epoch", "learning_rate": 2e-5, "fp16": True,
        "per_device_train_batch_size": 64, "weight_decay": 0.01, "logging_steps": 156}, (
        ("distilbert/distilbert-base-uncased", "T4", 10000), ("FacebookAI/xlm-roberta-base", "V100", 30000))),
    Recipe("https://huggingface.co/learn/llm-course/chapter7/6", {"per_device_train_batch_size": 32, "eval_strategy": "steps",
        "eval_steps": 5000, "logging_steps": 5000, "gradient_accumulation_steps": 8, "num_train_epochs": 1, "weight_decay": 0.1,
        "warmup_steps": 1000, "lr_scheduler_type": "cosine", "learning_rate": 5e-4, "save_steps": 5000, "fp16": True}, (
        ("openai-community/gpt2", "A100", 16702061),)),
    Recipe("https://huggingface.co/learn/llm-course/chapter7/7", {"eval_strategy": "no", "save_strategy": "epoch", "fp16": True,
        "learning_rate": 2e-5, "num_train_epochs": 3, "weight_decay": 0.01}, (
        ("google-bert/bert-base-cased", "T4", 88729), ("deepset/gelectra-base", "RTX 3060", 11518))),
    Recipe("https://huggingface.co/learn/cookbook/fine_tuning_vlm_trl", {"num_train_epochs": 3, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 8, "gradient_checkpointing": True, "optim": "adamw_torch_fused", "learning_rate": 2e-4,
        "lr_scheduler_type": "constant", "logging_steps": 10, "eval_steps": 10, "eval_strategy": "steps",
        "save_strategy": "steps",
        "save_steps": 20, "metric_for_best_model": "eval_loss", "load_best_model_at_end": True, "bf16": True, "tf32": True,
        "max_grad_norm": 0.3, "warmup_ratio": 0.03, "gradient_checkpointing_kwargs": {"use_reentrant": False}, "lora_r": 8,
        "lora_alpha": 16, "lora_target_modules": ["q_proj", "v_proj"], "load_in_4bit": True}, (
        ("Qwen/Qwen2-VL-7B-Instruct", "A100", 2830), ("HuggingFaceTB/SmolVLM-Instruct", "L4", 2830))),
    Recipe("https://huggingface.co/blog/mms_adapters", {"per_device_train_batch_size": 32, "eval_strategy": "steps", "fp16": True,
        "num_train_epochs": 4, "gradient_checkpointing": True, "save_steps": 200, "eval_steps": 100, "logging_steps": 100,
        "learning_rate": 1e-3, "warmup_steps": 100, "save_total_limit": 2, "group_by_length": True}, (
        ("facebook/mms-1b-all", "V100", 9000),)),
    Recipe(TASKS + "text-to-speech", {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "learning_rate": 1e-5,
        "warmup_steps": 500, "max_steps": 4000, "gradient_checkpointing": True, "fp16": True, "eval_strategy": "steps",
        "save_steps": 1000, "eval_steps": 1000, "logging_steps": 25, "load_best_model_at_end": True}, (
        ("microsoft/speecht5_tts", "T4", 7500),)),
    Recipe(TASKS + "asr", {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "learning_rate": 1e-5,
        "warmup_steps": 500, "max_steps": 2000, "gradient_checkpointing": True, "fp16": True, "eval_strategy": "steps",
        "save_steps": 1000, "eval_steps": 1000, "logging_steps": 25, "load_best_model_at_end": True}, (
        ("facebook/wav2vec2-base", "T4", 80),)),
    Recipe(TASKS + "video_classification", {**_BEST, "learning_rate": 5e-5, "per_device_train_batch_size": 8, "warmup_ratio": 0.1,
        "logging_steps": 10, "num_train_epochs": 4}, (("MCG-NJU/videomae-base", "T4", 3000),)),
    Recipe("https://github.com/NielsRogge/Transformers-Tutorials", {"max_steps": 1000, "per_device_train_batch_size": 2,
        "learning_rate": 1e-5, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 100, "save_steps": 100,
        "load_best_model_at_end": True, "metric_for_best_model": "f1"}, (
        ("microsoft/layoutlmv3-base", "T4", 149), ("microsoft/layoutlm-base-uncased", "V100", 800))),
    Recipe("https://github.com/NielsRogge/Transformers-Tutorials", {"per_device_train_batch_size": 8, "fp16": True,
        "eval_strategy": "steps", "logging_steps": 2, "save_steps": 1000, "eval_steps": 200, "predict_with_generate": True}, (
        ("microsoft/trocr-base-handwritten", "A100", 6482),)),
    Recipe("https://huggingface.co/docs/peft/task_guides/lora_based_methods", {"per_device_train_batch_size": 128, "fp16": True,
        "gradient_accumulation_steps": 4, "learning_rate": 5e-3, "num_train_epochs": 5, "logging_steps": 10, **_BEST,
        "lora_r": 16, "lora_alpha": 16, "lora_target_modules": ["query", "value"], "num_labels": 101}, (
        ("google/vit-base-patch16-224-in21k", "A100", 68175),)),
    Recipe("https://github.com/huggingface/peft/tree/main/examples/sequence_classification", {"learning_rate": 3e-4, "lora_r": 8,
        "lora_alpha": 16, "num_train_epochs": 20, "per_device_train_batch_size": 32, "warmup_ratio": 0.06, "num_labels": 2,
        "eval_strategy": "epoch"}, (("FacebookAI/roberta-large", "V100", 3668),)),
    Recipe("https://www.philschmid.de/fine-tune-llms-in-2024-with-trl", {"num_train_epochs": 3, "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2, "gradient_checkpointing": True, "optim": "adamw_torch_fused", "logging_steps": 10,
        "save_strategy": "epoch", "learning_rate": 2e-4, "bf16": True, "tf32": True, "max_grad_norm": 0.3, "warmup_ratio": 0.03,
        "lr_scheduler_type": "constant", "load_in_4bit": True, "lora_r": 256, "lora_alpha": 128, "packing": True,
        "lora_target_modules": "all-linear"}, (("codellama/CodeLlama-7b-hf", "A10G", 10000), (MISTRAL, "RTX 4090", 10000))),
    Recipe("https://www.philschmid.de/fine-tune-flan-t5-deepspeed", {"learning_rate": 1e-4, "num_train_epochs": 3, "bf16": True,
        "per_device_train_batch_size": 8, "gradient_checkpointing": True, "generation_max_length": 129,
        "deepspeed": {"bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 3, "overlap_comm": False}}}, (
        ("google/flan-t5-xl", "4x A10G", 287113), ("google/flan-t5-xxl", "8x A100", 287113))),
    Recipe("https://github.com/allenai/open-instruct/tree/main/configs", {"learning_rate": 5e-6, "num_train_epochs": 2,
        "bf16": True,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "lr_scheduler_type": "linear", "warmup_ratio": 0.03,
        "weight_decay": 0.0, "max_seq_length": 4096, "logging_steps": 1}, (
        ("meta-llama/Llama-3.1-8B", "64x H100", 939343), ("allenai/OLMo-2-1124-7B", "64x H100", 939343))),
    Recipe("https://github.com/OpenLMLab/LOMO", {"learning_rate": 5e-2, "num_train_epochs": 10, "optim": "lomo", "bf16": True,
        "per_device_train_batch_size": 16, "lr_scheduler_type": "linear", "warmup_ratio": 0.1, "eval_strategy": "epoch"}, (
        ("huggyllama/llama-7b", "RTX 3090", 1000),)),
    Recipe("https://github.com/modelscope/ms-swift/tree/main/examples", {"train_type": "lora", "num_train_epochs": 1,
        "lora_rank": 8,
        "per_device_train_batch_size": 1, "learning_rate": 1e-4, "lora_alpha": 32, "target_modules": "all-linear",
        "torch_dtype": "bfloat16", "gradient_accumulation_steps": 16, "eval_steps": 50, "save_steps": 50, "save_total_limit": 2,
        "logging_steps": 5, "max_length": 2048, "warmup_ratio": 0.05}, (
        ("Qwen/Qwen2.5-7B-Instruct", "RTX 3090", 1500), ("Qwen/Qwen2.5-VL-7B-Instruct", "A100", 20000),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "L40S", 5000)), command="swift sft"),
)  # fmt: skip


def configurations() -> Iterator[Configuration]:
    """All of them, each as its tool writes it."""
    for recipe in RECIPES:
        for model, gpu, rows in recipe.variants:
            settings = {recipe.key: model, **recipe.settings}
            content = _flags(recipe.command, settings) if recipe.command else settings
            yield Configuration(recipe.source, content, model, gpu, rows)


def _flags(command: str, settings: dict[str, Any]) -> str:
    """As a shell script would state them."""
    words = [f"--{name} {value}" if value is not True else f"--{name}" for name, value in settings.items()]
    return " \\\n    ".join([command, *words]) + "\n"
