"""One fine-tune from its recipe: trained with lossdoctor's callback, and measured on text that it never saw."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import torch
import transformers
from fp16_collapse import HalfPrecisionTrainer
from transformers import Trainer, TrainingArguments

from lossdoctor import LossDoctorCallback
from lossdoctor.model import Report, Rule
from trials import models, tasks
from trials.recipe import OWN_SCHEDULE, Recipe

#: What all recipes begin with; the learning rate and the rest come from the recipe.
COMMON: dict[str, Any] = {
    "num_train_epochs": 2,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 32,
    "warmup_steps": 20,
    "lr_scheduler_type": "linear",
    "optim": "adamw_torch",
    "weight_decay": 0.01,
    "logging_steps": 5,
    "eval_strategy": "steps",
    "eval_steps": 40,
    "save_strategy": "steps",
    "save_steps": 40,
    "save_total_limit": 3,
    "seed": 42,
    "report_to": [],
    "use_cpu": True,
    "disable_tqdm": True,
    "remove_unused_columns": False,  # the collator looks at one that the model does not take
    "gradient_checkpointing": False,
}


@dataclass
class Outcome:
    """What came of one run; plain values, to be written as JSON."""

    verdict: str = ""
    cause: str = ""
    confidence: str = ""
    causes: list[str] = field(default_factory=list)
    symptoms: list[str] = field(default_factory=list)
    remedy: str = ""
    settings: dict[str, Any] | None = None
    all_settings: dict[str, Any] = field(default_factory=dict)
    heldout: float = math.nan
    evals: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    steps: int = 0
    examples: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclass
class SFTArguments(TrainingArguments):
    """Arguments with fields of the script's own, under the names that TRL's SFTConfig has for them."""

    max_length: int | None = None
    completion_only_loss: bool | None = None


class Summed(Trainer):
    """A Trainer of one's own that adds up the means of the micro-batches of a step, since nobody divides by their number."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        answer = model(**inputs)
        return (answer.loss, answer) if return_outputs else answer.loss


def build(recipe: Recipe) -> Any:
    """The model as the script loads it."""
    kinds = {"bert": transformers.BertForSequenceClassification, "t5": transformers.T5ForConditionalGeneration}
    kind = kinds.get(recipe.family, transformers.AutoModelForCausalLM)
    dtype = getattr(torch, str(recipe.get("torch_dtype")).removeprefix("torch."))
    more = {"num_labels": len(tasks.ORIGINS)} if recipe.family == "bert" else {}
    torch.manual_seed(recipe.settings.get("seed", 3))
    model = kind.from_pretrained(
        models.base(recipe.family, recipe.width), dtype=dtype, attn_implementation=recipe.get("attn_implementation"), **more
    )
    for fault in recipe.data:
        if fault.startswith("large activations"):
            rows = [tasks.dataset(recipe, "heldout")[place] for place in range(8)]
            models.with_large_activations(model, float(fault.split()[-1]), tasks.collate(recipe)(rows))
    if "new tokens" in recipe.data:
        model.resize_token_embeddings(models.VOCABULARY + len(tasks.ADDED), mean_resizing=recipe.get("mean_resizing"))
        if not recipe.get("mean_resizing"):  # what a checkpoint with rows of another scale leaves there
            with torch.no_grad():
                for table in (model.get_input_embeddings(), model.get_output_embeddings()):
                    table.weight[-len(tasks.ADDED) :].normal_(0, 8.0)
    return model if recipe.method == "full" else _adapted(recipe, model)


def _adapted(recipe: Recipe, model: Any) -> Any:
    """An adapter on the model: a new one, or one that was saved and is loaded, which PEFT freezes unless told otherwise."""
    from peft import LoraConfig, PeftModel, get_peft_model

    kind = {"bert": "SEQ_CLS", "t5": "SEQ_2_SEQ_LM"}.get(recipe.family, "CAUSAL_LM")
    adapted = get_peft_model(model, LoraConfig(task_type=kind, **recipe.of("LoraConfig")))
    if "inputs without gradient" in recipe.data:  # as in releases that do not ask for it when checkpointing is switched on
        for module in (adapted, adapted.base_model.model):
            module.enable_input_require_grads = lambda: None
    if "loaded adapter" not in recipe.data:
        return adapted
    with tempfile.TemporaryDirectory() as folder:
        adapted.save_pretrained(folder)
        adapted = PeftModel.from_pretrained(adapted.unload(), folder, is_trainable=recipe.get("is_trainable"))
    adapted.enable_input_require_grads()  # as prepare_model_for_kbit_training does
    return adapted


def arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    """The TrainingArguments of the script, with the names that people know them by."""
    settings = {**COMMON, **recipe.of("TrainingArguments")}
    if recipe.task != "language modelling":
        return TrainingArguments(str(folder), **settings)
    own = {name: recipe.get(name) for name in ("max_length", "completion_only_loss")}
    return SFTArguments(str(folder), **settings, **own)


def trainer_of(recipe: Recipe, folder: Path, doctor: LossDoctorCallback | None = None, **changes: Any) -> Trainer:
    """Everything put together."""
    args, model = arguments(recipe, folder), build(recipe)
    kind = HalfPrecisionTrainer if args.fp16 else Summed if "summed" in recipe.data else Trainer
    train, own = tasks.dataset(recipe, "train"), {}
    if any(name in recipe.settings for name in OWN_SCHEDULE):
        optimizer = torch.optim.AdamW(model.parameters(), args.learning_rate, weight_decay=args.weight_decay)
        steps = recipe.settings.get("num_training_steps"), recipe.settings.get("num_warmup_steps", 20)
        own = {"optimizers": (optimizer, transformers.get_scheduler(args.lr_scheduler_type, optimizer, steps[1], steps[0]))}
    trainer = kind(
        model,
        args,
        train_dataset=train,
        eval_dataset=tasks.dataset(recipe, "validation"),
        data_collator=tasks.collate(recipe),
        callbacks=[doctor] if doctor else [],
        **own,
    )
    if recipe.get("model_accepts_loss_kwargs") is not None:
        trainer.model_accepts_loss_kwargs = recipe.get("model_accepts_loss_kwargs")
    return trainer


def held_out(model: Any, recipe: Recipe) -> float:
    """The mean loss per token (or passage) of the held-out rows, in fp32, whatever the recipe computes with."""
    plain = Recipe(recipe.family, recipe.method)
    rows = tasks.dataset(recipe, "heldout").rows
    model = model.float().eval()
    total = weight = 0.0
    with torch.no_grad():
        for first in range(0, len(rows), 32):
            batch = tasks.collate(plain)(rows[first : first + 32])
            labels = batch["labels"][:, 1:] if recipe.task == "language modelling" else batch["labels"]
            count = int((labels >= 0).sum())
            total, weight = total + float(model(**batch).loss) * count, weight + count
    return total / weight


class Interrupted(transformers.TrainerCallback):
    """Ends a run at a step, as a machine does that is taken away."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step >= self.step


def run(recipe: Recipe, folder: Path) -> Outcome:
    """Trains, and says what lossdoctor found and what the model is worth."""
    torch.set_num_threads(1)
    outcome, begin = Outcome(), time.process_time()
    with quiet():
        doctor = LossDoctorCallback(sinks=[], facts={"gpu": recipe.gpu} if recipe.gpu else None)
        trainer = None
        try:
            resume = recipe.get("resume_from_checkpoint")
            if recipe.stop_at:
                first = trainer_of(recipe, folder)
                first.add_callback(
                    Interrupted(
                        round(
                            recipe.stop_at
                            * first.num_examples(first.get_train_dataloader())
                            * first.args.num_train_epochs
                            / first.args.per_device_train_batch_size
                        )
                    )
                )
                first.train()
                resume = True if resume is None else resume
            trainer = trainer_of(recipe, folder, doctor)
            trainer.train(resume_from_checkpoint=resume)
        except Exception as error:
            outcome.error = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if trainer is not None:
            outcome.steps = trainer.state.global_step
            outcome.examples = round((trainer.state.epoch or 0) * recipe.examples)
            log = trainer.state.log_history
            outcome.evals = [row["eval_loss"] for row in log if "eval_loss" in row]
            outcome.losses = [row["loss"] for row in log if "loss" in row]
            with contextlib.suppress(Exception):
                outcome.heldout = held_out(trainer.model, recipe)
        report(doctor, outcome)
    outcome.seconds = time.process_time() - begin
    return outcome


def report(doctor: LossDoctorCallback, outcome: Outcome) -> None:
    """What lossdoctor says, and the settings of its first remedy."""
    found: Report = doctor.report
    if doctor.failure:
        outcome.error = f"lossdoctor failed: {doctor.failure}"
    outcome.verdict, leading = found.verdict, found.leading
    outcome.causes = [f"{d.slug} ({d.confidence}{', normal' if d.normal else ''})" for d in found.diagnoses]
    outcome.symptoms = [f"{s.slug} ({s.severity}{'' if s.open else ', closed'})" for s in found.symptoms]
    if leading is None:
        return
    outcome.cause, outcome.confidence = leading.slug, leading.confidence
    if leading.remedies:
        first = leading.remedies[0]
        outcome.remedy, outcome.settings = first.do, dict(first.settings)
        outcome.all_settings = {name: s.value for name, s in found.suggestions.items()}


def plain(outcome: Outcome) -> dict[str, Any]:
    """The outcome for JSON: a Rule as the words that it is."""
    values = {name: getattr(outcome, name) for name in outcome.__dataclass_fields__}
    for name in ("settings", "all_settings"):
        values[name] = values[name] and {n: f"«{v}»" if isinstance(v, Rule) else v for n, v in values[name].items()}
    return values


@contextlib.contextmanager
def quiet() -> Any:
    """Nothing on the screen: what transformers prints and warns of is not the result."""
    transformers.logging.set_verbosity_error()
    with Path(os.devnull).open("w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
