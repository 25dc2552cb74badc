"""Never harm the patient: whatever breaks in the doctor, and however somebody trains, training goes on as without it."""

from __future__ import annotations

import copy
import inspect
import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import slugs

import lossdoctor
from lossdoctor import LossDoctorError
from lossdoctor.probe_columns import LABELS, LOSSES
from lossdoctor.registry import all_causes, all_detectors

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from fp16_collapse import Counting, HalfPrecisionTrainer, arguments, tiny_model  # noqa: E402
from trainers import Harmless, NanLoss, Train  # noqa: E402
from transformers import Trainer, TrainerCallback  # noqa: E402

from lossdoctor import LossDoctorCallback  # noqa: E402
from lossdoctor.probes import (  # noqa: E402
    adapter_gradient,
    examples,
    first_tensor,
    forensics,
    instruments,
    layers,
    loss_scale,
    micro_batches,
    ranks,
    samples,
    trace,
    trainer,
    weights,
)

pytestmark = pytest.mark.slow
BAD = (6, 7, 15)
HOOKS = [name for name, value in vars(LossDoctorCallback).items() if name.startswith("on_") and callable(value)]
#: Everything in the probes that training passes through, by its module and name.
PROBES = [
    (home, name)
    for home in (
        adapter_gradient.AdapterGradient,
        examples.Examples,
        first_tensor.find,
        forensics.Forensics,
        instruments.Instruments,
        layers.norms,
        loss_scale.LossScale,
        micro_batches.MicroBatches,
        ranks.Ranks,
        samples.samples,
        trace.Trace,
        trainer.find,
        trainer.Calls,
        weights.nonfinite,
    )
    for name in ([n for n, v in vars(home).items() if inspect.isfunction(v)] if inspect.isclass(home) else [None])
    if name not in ("__reduce__", "__call__")  # the latter is the guard itself
]


def weights_of(patient: Trainer) -> list[Any]:
    return [parameter.detach().clone() for parameter in patient.model.parameters()]


def log_of(patient: Trainer) -> str:
    rows = patient.state.log_history
    return json.dumps([{k: v for k, v in row.items() if "per_second" not in k and "runtime" not in k} for row in rows])


def train_broken(folder: Path, *doctor: LossDoctorCallback) -> tuple[list[Any], str, Any]:
    """A run that meets every instrument: NaN losses, fp16 with a scaler that skips steps, checkpoints, an evaluation."""
    changes = {"max_steps": 24, "logging_steps": 4, "save_strategy": "steps", "save_steps": 8, "eval_strategy": "steps",
               "eval_steps": 12, "per_device_train_batch_size": 8, "disable_tqdm": True, "save_total_limit": 2}  # fmt: skip

    class Broken(Harmless, HalfPrecisionTrainer):
        pass

    patient = Broken(tiny_model(), arguments(str(folder), **changes), train_dataset=Counting(256), eval_dataset=Counting(16),
                     callbacks=list(doctor), nan_in=lambda n: n in BAD)  # fmt: skip
    patient.train()
    return weights_of(patient), log_of(patient), torch.random.get_rng_state()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: Any) -> tuple[list[Any], str, Any]:
    """What that run gives without any doctor."""
    return train_broken(tmp_path_factory.mktemp("alone"))


def same(one: tuple[list[Any], str, Any], other: tuple[list[Any], str, Any]) -> bool:
    """Whether weights, log and random state are the same to the last bit."""
    return all(map(torch.equal, one[0], other[0])) and one[1] == other[1] and torch.equal(one[2], other[2])


def test_weights_log_and_random_state_are_those_of_a_run_without_the_doctor(healthy: Any, tmp_path: Path) -> None:
    """With every instrument at work, and with all of them waiting for a device."""
    doctor = LossDoctorCallback(sinks=[], keep_batch=True, at_once=True)
    assert same(healthy, train_broken(tmp_path, doctor))
    assert doctor.failure is None and {"hidden-nan-steps", "tensor-not-finite", "gradient-by-layer"} <= slugs(doctor.report)


@pytest.mark.parametrize("hook", HOOKS)
def test_an_exception_in_a_hook_harms_nobody(hook: str, healthy: Any, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    """Planted in the first line of every hook of the callback: one line is said, and training ends as without the doctor."""
    inner = inspect.unwrap(getattr(LossDoctorCallback, hook))
    from lossdoctor.callback import _harmless

    def broken(self: Any, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("planted")

    broken.__name__ = inner.__name__
    monkeypatch.setattr(LossDoctorCallback, hook, _harmless(broken))
    doctor = LossDoctorCallback(sinks=[])
    assert same(healthy, train_broken(tmp_path, doctor))
    assert doctor.failure == "RuntimeError: planted"
    assert capfd.readouterr().err.count("lossdoctor: switched off") == 1


@pytest.mark.parametrize(("home", "name"), PROBES, ids=lambda part: getattr(part, "__name__", part))
@pytest.mark.parametrize("on_a_device", [False, True])
def test_an_exception_in_a_probe_harms_nobody(
    home: Any, name: str | None, on_a_device: bool, healthy: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Planted in every function of every probe: training ends as without the doctor, and what was lost is said."""

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("planted")

    if name is not None:
        monkeypatch.setattr(home, name, broken)
    else:
        plant(home, broken, monkeypatch)
    if on_a_device:
        monkeypatch.setattr(trace, "AT_ONCE", False)
    doctor = LossDoctorCallback(sinks=[])
    assert same(healthy, train_broken(tmp_path, doctor))


def plant(function: Any, broken: Callable[..., None], monkeypatch: Any) -> None:
    """Replaces a function in every module of the probes that has fetched it by name."""
    for module in (first_tensor, forensics, instruments, layers, samples, trainer, weights):
        for name, value in list(vars(module).items()):
            if value is function:
                monkeypatch.setattr(module, name, broken)


@pytest.mark.parametrize("method", ["update", "finish", "blind", "settled", "weigh", "check", "remedies"])
def test_an_exception_in_detectors_or_causes_harms_nobody(method: str, healthy: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Planted in every method that the engine calls, in all of them at once; the report says what was switched off."""

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("planted")

    for page in (*all_detectors().values(), *all_causes().values()):
        if method in vars(page):
            monkeypatch.setattr(page, method, property(broken) if method == "settled" else broken)
    doctor = LossDoctorCallback(sinks=[])
    assert same(healthy, train_broken(tmp_path, doctor))
    assert doctor.failure is None


def test_an_exception_in_a_sink_harms_nobody(healthy: Any, tmp_path: Path) -> None:
    """The sink is dropped, with a note."""
    doctor = LossDoctorCallback(sinks=[lambda event: 1 / 0])
    assert same(healthy, train_broken(tmp_path, doctor))
    assert any(item.what.startswith("sink") for item in doctor.report.not_judged)


# --- However somebody trains ------------------------------------------------------------------------------------------


def steps_of(doctor: Any) -> str:
    """The message of the hidden NaN steps."""
    assert doctor.failure is None, doctor.failure
    return next(s.message for s in doctor.report.symptoms if s.slug == "hidden-nan-steps")


EXPECTED = "the loss of 2 micro-batches was NaN in steps 6 and 7"


@pytest.mark.parametrize(
    "changes",
    [
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"torch_compile": True, "torch_compile_backend": "eager"},
        {"logging_strategy": "epoch", "num_train_epochs": 1, "max_steps": -1},
        {"logging_nan_inf_filter": False},
        {"max_grad_norm": 0.0},
        {"bf16": True},
        {"label_smoothing_factor": 0.1},
        {"dataloader_num_workers": 1},
        {"auto_find_batch_size": True},
        {"group_by_length": True},
        {"optim": "adafactor", "lr_scheduler_type": "constant"},
        {"report_to": ["tensorboard"]},
    ],
    ids=lambda c: ",".join(c),
)
def test_every_way_of_training_is_watched(train: Train, changes: dict[str, Any]) -> None:
    """The NaN steps are named, and nothing fails, whatever is switched on."""
    if "group_by_length" in changes and not has("group_by_length"):  # its name since transformers 5
        changes = {"train_sampling_strategy": "group_by_length"}
    if "report_to" in changes:
        pytest.importorskip("tensorboard")
    _, doctor = train(Harmless, nan_in=lambda n: n in (6, 7), train_dataset=Counting(128), **{"max_steps": 12, **changes})
    assert doctor is not None and steps_of(doctor) == EXPECTED


def has(name: str) -> bool:
    """Whether this version of transformers has such an argument."""
    from transformers import TrainingArguments

    return name in inspect.signature(TrainingArguments).parameters


def test_an_adapter_is_watched(train: Train) -> None:
    """PEFT: the facts are those of the adapter, the first tensor is named within the base model."""
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model(), peft.LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM"))
    _, doctor = train(NanLoss, model=model, nan_in=lambda n: n in (6, 7), max_steps=12, save_strategy="steps", save_steps=5)
    assert doctor is not None and doctor.failure is None
    run = doctor.report.run
    assert run.get("use_lora") is True and run.get("trainable_parameters") == 2 * 4 * (64 + 192)
    assert next(s for s in doctor.report.symptoms if s.slug == "weights-not-finite").evidence["weights"] == 4


def test_data_parallel_is_watched(train: Train) -> None:
    """DataParallel wraps the model and gives one loss per device; here there is none to spread to, the wrapper is the same."""

    class Wrapped(Harmless):
        def _wrap_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            return torch.nn.DataParallel(super()._wrap_model(model, *args, **kwargs))

    _, doctor = train(Wrapped, nan_in=lambda n: n in (6, 7), max_steps=12)
    assert doctor is not None and steps_of(doctor) == EXPECTED


def test_a_probe_that_could_not_be_put_on_leaves_nothing_behind(train: Train, monkeypatch: Any) -> None:
    """When one instrument fails at the start, those before it are taken off at the end all the same."""
    monkeypatch.setattr(trainer.Calls, "__init__", lambda self, model: 1 / 0)
    patient, doctor = train(max_steps=3)
    assert doctor is not None and any("ZeroDivisionError" in item.why for item in doctor.report.not_judged)
    assert "training_step" not in vars(patient)


def test_several_trainings_of_one_trainer_are_several_runs(train: Train) -> None:
    """Each `train()` begins anew; nothing of the first is left on Trainer or model."""
    patient, doctor = train(Harmless, nan_in=lambda n: n in (6, 7), max_steps=12)
    assert doctor is not None and steps_of(doctor) == EXPECTED
    assert "training_step" not in vars(patient) and not patient.model._forward_pre_hooks
    patient.nan_in = lambda n: False
    patient.train()
    assert doctor.failure is None and "hidden-nan-steps" not in slugs(doctor.report) and doctor.report.rows == 12


def test_a_training_that_was_interrupted_can_be_begun_again(train: Train, tmp_path: Path) -> None:
    """An exception of the training itself leaves the wrapper behind; the next training finds it and all is well."""

    class Interrupted(Harmless):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            if self.batches == 9 and not getattr(self, "again", False):
                self.again, self.batches = True, 0
                raise KeyboardInterrupt
            return loss

    doctor = LossDoctorCallback(sinks=[])
    patient = Interrupted(tiny_model(), arguments(str(tmp_path), fp16=False, max_steps=12, logging_steps=1, save_strategy="no"),
                          train_dataset=Counting(128), callbacks=[doctor], nan_in=lambda n: n in (6, 7))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        patient.train()
    patient.train()
    assert steps_of(doctor) == EXPECTED
    assert "training_step" not in vars(patient) and not patient.model._forward_pre_hooks


def test_evaluation_without_training_is_left_alone(tmp_path: Path) -> None:
    """`trainer.evaluate()` alone: no instrument is put anywhere, and there is nothing to judge."""
    doctor = LossDoctorCallback(sinks=[])
    patient = Trainer(tiny_model(), arguments(str(tmp_path), fp16=False), eval_dataset=Counting(16), callbacks=[doctor])
    patient.evaluate()
    assert doctor.failure is None and doctor.report.verdict == "insufficient"
    assert "training_step" not in vars(patient) and not patient.model._forward_pre_hooks


def test_the_trials_of_a_search_are_watched_one_by_one(tmp_path: Path) -> None:
    """Hyper-parameter search trains new models with one Trainer; the report is that of the last trial."""
    pytest.importorskip("optuna")
    doctor = LossDoctorCallback(sinks=[])
    patient = Trainer(
        model_init=lambda trial: tiny_model(),
        args=arguments(str(tmp_path), fp16=False, max_steps=8, logging_steps=2, save_strategy="no", disable_tqdm=True),
        train_dataset=Counting(64), eval_dataset=Counting(16), callbacks=[doctor])  # fmt: skip
    best = patient.hyperparameter_search(lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-3)},
                                         n_trials=2, backend="optuna")  # fmt: skip
    assert best is not None and doctor.failure is None and doctor.report.rows == 4 + 1  # and an evaluation


def test_a_model_that_is_copied_or_saved_while_it_trains_carries_nothing_of_ours(train: Train) -> None:
    """A deep copy and a pickle of the model, taken in mid-training, run without lossdoctor."""
    copies: list[Any] = []

    class Copying(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            if state.global_step == 3:
                buffer = io.BytesIO()
                torch.save(model, buffer)
                copies.extend((copy.deepcopy(model), buffer.getvalue()))

    train(callbacks=[Copying()], max_steps=5)
    tokens = torch.zeros(1, 4, dtype=torch.long)
    assert copies[0](tokens).logits.shape == (1, 4, 256)
    assert b"lossdoctor" not in copies[1]
    assert torch.load(io.BytesIO(copies[1]), weights_only=False)(tokens).logits.shape == (1, 4, 256)


def test_the_callback_can_be_pickled_before_and_while_it_trains(train: Train) -> None:
    """As searches on several machines do; the copy is a doctor without instruments."""
    taken: list[bytes] = []

    class Pickling(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            taken.append(pickle.dumps(doctor))

    doctor = LossDoctorCallback(sinks=[])
    taken.append(pickle.dumps(doctor))
    train(doctor=doctor, callbacks=[Pickling()], max_steps=2)
    assert [pickle.loads(text).failure for text in taken] == [None] * 3


# --- Trainers of others -----------------------------------------------------------------------------------------------


def test_a_sequence_to_sequence_trainer_is_watched(tmp_path: Path) -> None:
    """Seq2SeqTrainer with a T5."""
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=256, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0)
    args = Seq2SeqTrainingArguments(str(tmp_path), max_steps=6, logging_steps=2, use_cpu=True, report_to=[], save_strategy="no")
    doctor = LossDoctorCallback(sinks=[])
    Seq2SeqTrainer(T5ForConditionalGeneration(config), args, train_dataset=Counting(64), callbacks=[doctor]).train()
    assert doctor.failure is None and doctor.report.rows == 3 and not doctor.report.run.unseen
    assert doctor.report.run.watched == {LOSSES: 1, LABELS: 1}


def tokenizer(folder: Path) -> Any:
    """A tokenizer of whole words that is made here, since nothing can be downloaded."""
    tokenizers = pytest.importorskip("tokenizers")
    from transformers import PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate(["<pad>", "<eos>", "<unk>", *(f"w{n}" for n in range(60))])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def tiny_llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0
        )
    )


def rows(count: int = 32) -> Iterator[list[str]]:
    for n in range(count):
        yield [f"w{(n + k) % 60}" for k in range(8)]


@pytest.fixture
def trl() -> Any:
    pytest.importorskip("datasets")
    return pytest.importorskip("trl")


def test_supervised_fine_tuning_is_watched(trl: Any, tmp_path: Path) -> None:
    """SFTTrainer: prompts are masked, and the share of supervised tokens is that of the completions."""
    from datasets import Dataset

    data = Dataset.from_list([{"prompt": " ".join(w[:6]), "completion": " " + " ".join(w[6:])} for w in rows()])
    args = trl.SFTConfig(str(tmp_path), max_steps=6, logging_steps=2, use_cpu=True, report_to=[], save_strategy="no", bf16=False,
                         per_device_train_batch_size=4)  # fmt: skip
    doctor = LossDoctorCallback(sinks=[])
    trl.SFTTrainer(tiny_llama(), args, train_dataset=data, processing_class=tokenizer(tmp_path), callbacks=[doctor]).train()
    assert doctor.failure is None and not doctor.report.run.unseen
    assert doctor.report.run.get("supervised_share") == pytest.approx(3 / 9, abs=0.01)
    assert doctor.report.run.get("trainer") == "SFTConfig"


def test_preference_tuning_is_watched(trl: Any, tmp_path: Path) -> None:
    """DPOTrainer makes its loss outside of the model's forward: it is seen all the same; that labels are missing is said."""
    from datasets import Dataset

    class Nan(trl.DPOTrainer):  # type: ignore[misc]
        count = 0

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            self.count += 1
            return loss * 0 + float("nan") if self.count == 3 else loss

    data = Dataset.from_list(
        [{"prompt": " ".join(w[:4]), "chosen": " " + " ".join(w[4:]), "rejected": " " + " ".join(w[2:5])} for w in rows()]
    )
    args = trl.DPOConfig(str(tmp_path), max_steps=6, logging_steps=6, use_cpu=True, report_to=[], save_strategy="no", bf16=False,
                         per_device_train_batch_size=2)  # fmt: skip
    doctor = LossDoctorCallback(sinks=[])
    Nan(
        tiny_llama(), tiny_llama(), args=args, train_dataset=data, processing_class=tokenizer(tmp_path), callbacks=[doctor]
    ).train()
    assert doctor.failure is None
    scene = json.loads((tmp_path / "lossdoctor" / "forensics-3.json").read_text())
    assert scene["first_not_finite"]["what"] == "nothing" and "not_run_again" not in scene
    assert "share of supervised tokens" in {n.what for n in doctor.report.not_judged}


def test_reinforcement_learning_is_watched(trl: Any, tmp_path: Path) -> None:
    """GRPOTrainer: its batches are prompts, its loss is its own; nothing fails, and what is not seen is said."""
    from datasets import Dataset

    data = Dataset.from_list([{"prompt": " ".join(w[:4])} for w in rows()])
    args = trl.GRPOConfig(str(tmp_path), max_steps=4, logging_steps=2, use_cpu=True, report_to=[], save_strategy="no", bf16=False,
                          per_device_train_batch_size=4, num_generations=2, max_completion_length=4)  # fmt: skip
    doctor = LossDoctorCallback(sinks=[])
    trl.GRPOTrainer(tiny_llama(), lambda completions, **kw: [float(len(c)) for c in completions], args=args, train_dataset=data,
                    processing_class=tokenizer(tmp_path), callbacks=[doctor]).train()  # fmt: skip
    assert doctor.failure is None and doctor.report.run.watched[LOSSES] == 1
    assert "share of supervised tokens" in {n.what for n in doctor.report.not_judged}


# --- attach -----------------------------------------------------------------------------------------------------------


def test_attach_is_one_line(tmp_path: Path) -> None:
    """It adds the callback, or takes the one that is there; the Trainer is known without being looked for."""
    patient = Harmless(tiny_model(), arguments(str(tmp_path), fp16=False, max_steps=12, logging_steps=4, save_strategy="no"),
                       train_dataset=Counting(128), nan_in=lambda n: n in (6, 7))  # fmt: skip
    doctor = lossdoctor.attach(patient, sinks=[])
    assert lossdoctor.attach(patient) is doctor
    patient.train()
    assert steps_of(doctor) == EXPECTED


@pytest.mark.parametrize("wrong", ["not a trainer", "options twice"])
def test_attach_says_what_is_wrong(wrong: str, tmp_path: Path) -> None:
    """One line, before training."""
    patient: Any = object()
    if wrong == "options twice":
        patient = Trainer(tiny_model(), arguments(str(tmp_path), fp16=False), callbacks=[LossDoctorCallback()])
    with pytest.raises(LossDoctorError) as error:
        lossdoctor.attach(patient, keep_batch=True)
    assert "\n" not in str(error.value)


def test_somebody_else_who_calls_the_callback_is_told_what_is_missing(tmp_path: Path) -> None:
    """A loop of one's own that calls the hooks: the rows are judged, and that losses were not seen is said."""
    from transformers import TrainerControl, TrainerState

    doctor = LossDoctorCallback(sinks=[])
    args, state, control = arguments(str(tmp_path), fp16=False), TrainerState(max_steps=5), TrainerControl()
    doctor.on_train_begin(args, state, control, model=tiny_model())
    for step in range(1, 6):
        state.global_step = step
        doctor.on_step_end(args, state, control)
        doctor.on_log(args, state, control, logs={"loss": 2.0 / step, "learning_rate": 1e-4})
    assert doctor.failure is None and doctor.report.rows == 5
    assert any("attach" in item.why for item in doctor.report.not_judged)
