"""What a column of a table, a tag of a chart or a key of a printed line is called in a log of the Trainer."""

from __future__ import annotations

import re
from functools import lru_cache

#: What the Trainer's callbacks for trackers put before the names of its columns, and what they are called in the log itself.
PREFIXES = {
    "train/": "",
    "eval/": "eval_",
    "test/": "test_",
    # What others say for evaluation.
    **dict.fromkeys(("val/", "valid/", "validation/", "val_", "valid_", "validation_"), "eval_"),
}
#: What scripts without those callbacks, other frameworks and people call the same; in lower case, words joined by "_".
USUAL = {
    **dict.fromkeys(
        (
            *("loss/train", "training_loss", "trainingloss", "tr_loss", "lm_loss", "avr_loss", "loss/total"),
            *("loss_(train)", "loss_train", "trainloss", "tr._loss", "train/crossentropyloss", "crossentropyloss"),
        ),
        "loss",
    ),
    **dict.fromkeys(
        (
            *("val_loss", "val/loss", "validation_loss", "validationloss", "valid_loss", "dev_loss", "evaluation_loss"),
            *("loss/val", "loss/valid", "loss/eval", "loss/validation", "eval/eval_loss", "lm_loss_validation", "valid/loss"),
            *("validation/loss", "loss/dev", "loss_(val)", "loss_(eval)", "loss_val", "loss_eval", "valloss", "evalloss"),
            *("val._loss", "valid._loss"),
        ),
        "eval_loss",
    ),
    **dict.fromkeys(("lr", "learningrate", "learning-rate", "train/lr", "lr/group0", "train/learningrate"), "learning_rate"),
    **dict.fromkeys(
        (
            *("gnorm", "gradient_norm", "grad-norm", "gradnorm", "train/gradient_norm", "gradients/norm", "global_grad_norm"),
            *("train/gnorm", "train/global_grad_norm", "total_norm"),
        ),
        "grad_norm",
    ),
    **dict.fromkeys(
        (
            *("iter", "iters", "iteration", "iterations", "steps", "global_step", "train/global_step", "trainer/global_step"),
            *("training_step", "training_steps", "train_step", "train_steps", "global_steps", "globalstep", "optimizer_step"),
            *("current_steps", "step_#", "#step"),
        ),
        "step",
    ),
    "epochs": "epoch",
    "train/epoch": "epoch",
}
KNOWN = ("loss", "eval_loss", "train_loss", "learning_rate", "grad_norm", "step", "epoch")
_WORDS = re.compile(r"[\s_]+")


@lru_cache(maxsize=1024)
def column(name: str) -> str:
    """The name that a column has in the Trainer's own log: "Training Loss" is `loss`, "eval/accuracy" is `eval_accuracy`.

    A name that is not known stays as it is.
    """
    plain = _WORDS.sub("_", name.strip().lower())
    if plain in USUAL or plain in KNOWN:
        return USUAL.get(plain, plain)
    for prefix, known in PREFIXES.items():
        if plain.startswith(prefix):
            rest = plain[len(prefix) :]
            return known + USUAL.get(rest, rest if rest in KNOWN else name.strip()[len(prefix) :])
    return name
