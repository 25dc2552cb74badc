"""Where the evidence of the ratings can be read."""

from __future__ import annotations

from lossdoctor import budgets, evaluations, learning_rates

LORA = learning_rates.LORA
GUIDE = learning_rates.GUIDE
WARM_UP = learning_rates.WARM_UP
LESS = learning_rates.HIGHEST_STABLE  # LoRA learns less and forgets less
JUMPS = evaluations.LEARNING_JUMPS
LONG_EPOCHS = budgets.LONG_EPOCHS
SMALL_BATCHES = budgets.SMALL_BATCHES
RANK = "https://www.lqdev.me/bookmarks/lora-without-regret/"
RSLORA = "https://huggingface.co/papers/2312.03732"
VARIANTS = "https://arxiv.org/abs/2602.09492"
SQUARE_ROOT = "https://arxiv.org/abs/2205.10287"
SECOND_MOMENT = "https://deepai.org/publication/stable-and-low-precision-training-for-large-scale-vision-language-models"
EPSILON = "https://paperium.net/article/en/6909/2-olmo-2-furious"
RANGES = "https://thecharlieblake.co.uk/mixed-precision-training"
SCALER = "https://docs.pytorch.org/docs/stable/_modules/torch/cuda/amp/grad_scaler.html"
EMULATED = "https://earino.github.io/applied-deep-learning/site/blog/05_bf16_on_t4.html"
CHECKPOINTING = "https://github.com/huggingface/peft/issues/1142"
ACCUMULATION = "https://github.com/huggingface/transformers/issues/35204"
FILTER = "https://github.com/huggingface/trl/issues/6702"
MASKED = "https://github.com/huggingface/trl/issues/588"
ENDLESS = "https://github.com/huggingface/trl/issues/976"
QLORA = learning_rates.QLORA
HALF = "https://github.com/google/gemma_pytorch/issues/24"
