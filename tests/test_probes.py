"""What only somebody inside the training can see: every claim tried on real, tiny Trainers with a planted fault."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import slugs

import lossdoctor
from lossdoctor.engine import Event
from lossdoctor.model import Report, Symptom

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from fp16_collapse import Counting, HalfPrecisionTrainer, tiny_model  # noqa: E402
from trainers import Harmless, NanLoss, Train  # noqa: E402
from transformers import Trainer, TrainerCallback  # noqa: E402

from lossdoctor import LossDoctorCallback  # noqa: E402
from lossdoctor.probes import first_tensor, forensics, layers, trace  # noqa: E402
from lossdoctor.probes.reach import Reach  # noqa: E402

pytestmark = pytest.mark.slow
OVERFLOWING = 850_000.0
BAD = (57, 58, 121)


def seen(report: Report, slug: str) -> Symptom:
    """The symptom of that name, which must be there."""
    return next(s for s in report.symptoms if s.slug == slug)


@pytest.fixture(params=["known at once", "on a device"])
def device(request: Any, monkeypatch: Any) -> Any:
    """Losses as on a CPU, and as on a device, where they are known only when the Trainer logs."""
    if request.param == "on a device":
        monkeypatch.setattr(trace, "AT_ONCE", False)
    return request.param


class InForward(torch.nn.Module):
    """Wraps a language model; the loss that its forward returns is NaN in those calls, without any gradient."""

    def __init__(self, calls: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self.calls, self.count = tiny_model(), calls, 0
        self.config = self.inner.config

    def forward(self, input_ids: Any, labels: Any = None, **kwargs: Any) -> Any:
        output = self.inner(input_ids=input_ids, labels=labels)
        if self.training:
            self.count += 1
            if self.count in self.calls:
                output.loss = output.loss.detach() * math.nan + 0.0 * next(self.parameters()).sum()
        return output


# --- NaN losses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["training_step", "forward"])
def test_three_nan_micro_batches_in_200_steps_are_named(train: Train, where: str, device: str) -> None:
    """The log shows nothing and says that it cannot rule them out; the live report has the exact steps."""
    more: dict[str, Any] = {"kind": Harmless, "nan_in": lambda n: n in BAD}
    if where == "forward":
        more = {"model": InForward(BAD), "callbacks": [ZeroGradients(BAD)]}
    trainer, doctor = train(max_steps=200, logging_steps=10, **more)
    assert doctor is not None and doctor.failure is None
    symptom = seen(doctor.report, "hidden-nan-steps")
    assert symptom.message == "the loss of 3 micro-batches was NaN in steps 57, 58 and 121"
    assert (symptom.onset, symptom.last, symptom.severity) == (57, 121, "warning")
    after = lossdoctor.analyze(trainer.args.output_dir)[0]
    assert "hidden-nan-steps" not in slugs(after)
    assert any("hidden-nan-steps" in n.what and "cannot be seen" in n.why for n in after.not_judged)
    assert not any("hidden-nan-steps" in n.what for n in doctor.report.not_judged)


def test_the_steps_before_a_resume_are_said_to_be_unseen(train: Train, tmp_path: Path) -> None:
    """What an earlier process saw is gone with it, and the log has no trace: that is said, with the step."""
    train(doctor=None, max_steps=40, logging_steps=10, save_strategy="steps", save_steps=20)
    _, doctor = train(max_steps=40, logging_steps=10, resume=str(tmp_path / "out" / "checkpoint-20"))
    assert doctor is not None and doctor.failure is None
    reason = next(n.why for n in doctor.report.not_judged if n.what == "hidden-nan-steps")
    assert reason == "the steps before 21 were not watched live, and the log filters NaN losses"


class ZeroGradients(TrainerCallback):
    """Leaves the weights unharmed in those steps, as a loss scaler would."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.steps = steps

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step + 1 in self.steps:
            model.zero_grad(set_to_none=False)


@pytest.mark.parametrize(("logging_steps", "told_at"), [(1, 23), (50, 23)])
def test_a_nan_is_told_in_the_step_in_which_it_happens(train: Train, logging_steps: int, told_at: int) -> None:
    """On a CPU there is no step of delay, however seldom the Trainer logs."""
    trainers: list[Trainer] = []
    heard: list[tuple[str, int]] = []

    class Known(Harmless):
        def train(self, *args: Any, **kwargs: Any) -> Any:
            trainers.append(self)
            return super().train(*args, **kwargs)

    def sink(event: Event) -> None:
        if event.symptom is not None:
            heard.append((event.symptom.slug, trainers[0].state.global_step))

    train(Known, doctor=LossDoctorCallback(sinks=[sink]), nan_in=lambda n: n == 23, max_steps=50, logging_steps=logging_steps)
    assert ("hidden-nan-steps", told_at) in heard


def test_a_run_that_is_lost_is_told_four_steps_later_however_seldom_it_logs(train: Train, device: str) -> None:
    """Every micro-batch is NaN from step 20 on: `stop` ends it at step 23, at the next row on a device, not at step 400."""
    doctor = LossDoctorCallback("stop", sinks=[])
    trainer, _ = train(NanLoss, doctor=doctor, nan_in=lambda n: n >= 20, max_steps=400, logging_steps=100)
    assert trainer.state.global_step == (23 if device == "known at once" else 100)
    symptom = seen(doctor.report, "loss-not-finite")
    assert (symptom.onset, symptom.severity, symptom.message) == (20, "critical", "the loss is nan from step 20 on")
    assert "hidden-nan-steps" not in {s.slug for s in doctor.report.symptoms if s.open}
    assert doctor.report.last_good_step == 19


def test_micro_batches_are_counted_within_their_step(train: Train, device: str) -> None:
    """With accumulation over four, NaN in the third micro-batch of step 6 is said to be in step 6, and is no other step's."""
    _, doctor = train(Harmless, nan_in=lambda n: n == 5 * 4 + 3, max_steps=12, logging_steps=4, gradient_accumulation_steps=4,
                      per_device_train_batch_size=2)  # fmt: skip
    assert doctor is not None
    scene = json.loads((Path(doctor.report.run.path) / "lossdoctor" / "forensics-6.json").read_text())
    assert (scene["step"], scene["micro_batch"]) == (6, 3)
    assert seen(doctor.report, "hidden-nan-steps").message == "the loss of 1 micro-batch was NaN in step 6"


def test_a_healthy_run_says_nothing_of_all_this(train: Train, device: str) -> None:
    """No probe symptom, no file, no reason why something was not seen."""
    trainer, doctor = train(max_steps=60, logging_steps=5)
    assert doctor is not None and doctor.failure is None
    probed = {"hidden-nan-steps", "labels-all-masked", "skipped-steps", "weights-not-finite", "tensor-not-finite"}
    assert not slugs(doctor.report) & probed and not doctor.report.run.unseen
    assert not (Path(trainer.args.output_dir) / "lossdoctor").exists()


# --- Labels -----------------------------------------------------------------------------------------------------------


class SomeMasked(Counting):
    """Sequences of which those in `rows` have no labels, and all others have labels for the second half only."""

    def __init__(self, rows: Callable[[int], bool]) -> None:
        super().__init__()
        self.rows = rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        item = super().__getitem__(row)
        labels = item["labels"].clone()
        labels[: len(labels) if self.rows(row) else len(labels) // 2] = -100
        return {**item, "labels": labels}


def test_batches_without_labels_are_counted_and_named(train: Train, device: str) -> None:
    """Eight rows to a batch in order: batches 5 and 9 have none, and the share of supervised tokens is known."""
    masked = {4, 8}
    _, doctor = train(InOrder, train_dataset=SomeMasked(lambda row: row // 8 in masked), max_steps=20, logging_steps=4)
    assert doctor is not None and doctor.failure is None
    symptom = seen(doctor.report, "labels-all-masked")
    assert symptom.message == "no token has a label in 2 of 9 micro-batches, in steps 5 and 9" and symptom.severity == "warning"
    assert doctor.report.run.get("supervised_share") == pytest.approx(0.5 * 18 / 20)
    assert doctor.report.diagnoses[0].slug == "no-supervised-tokens"


def test_a_data_set_without_any_label_is_critical_in_the_second_step(train: Train) -> None:
    """It needs no row of the log."""
    doctor = LossDoctorCallback("stop", sinks=[])
    trainer, _ = train(doctor=doctor, train_dataset=SomeMasked(lambda row: True), max_steps=100, logging_steps=50)
    assert trainer.state.global_step == 2
    symptom = seen(doctor.report, "labels-all-masked")
    assert symptom.message == "no token has a label in any of the 2 micro-batches so far" and symptom.severity == "critical"


class InOrder(Trainer):
    """Does not shuffle, so that a test knows which batch is which."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


# --- Loss scale -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_torch_fused"])
def test_steps_that_the_scaler_skips_are_counted_whatever_the_optimizer(train: Train, optimizer: str, device: str) -> None:
    """A fused optimizer moves the learning rate on as if nothing had happened; the scale itself tells."""
    seen_scales: list[float] = []

    class Watching(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
            seen_scales.append(optimizer.scaler.get_scale())

    _, doctor = train(HalfPrecisionTrainer, model=tiny_model(OVERFLOWING), fp16=True, max_steps=80, logging_steps=10,
                      per_device_train_batch_size=32, optim=optimizer, callbacks=[Watching()])  # fmt: skip
    assert doctor is not None and doctor.failure is None
    fallen = sum(after < before for before, after in zip([65536.0, *seen_scales], seen_scales, strict=False))
    symptom = seen(doctor.report, "skipped-steps")
    assert symptom.evidence["skipped"] == fallen > 5 and symptom.series == "loss_scale"
    assert doctor.report.diagnoses[0].slug == "fp16-overflow"
    assert ("learning-rate-frozen" in slugs(doctor.report)) == (optimizer == "adamw_torch")


def test_a_scale_that_fell_in_an_earlier_training_is_no_skipped_step(train: Train, device: str) -> None:
    """The scaler of a Trainer stays when it trains again, with the scale that it had come to."""
    trainer, doctor = train(HalfPrecisionTrainer, fp16=True, max_steps=6)
    trainer.accelerator.scaler._scale.fill_(1024.0)
    trainer.train()
    assert doctor is not None and doctor.failure is None and "skipped-steps" not in slugs(doctor.report)


# --- The first tensor -------------------------------------------------------------------------------------------------


class Plant:
    """A forward hook on one module that spoils its output from some call on."""

    def __init__(self, module: Any, calls: int, value: float) -> None:
        self.left, self.value = calls, value
        self.handle = module.register_forward_hook(self)

    def __call__(self, module: Any, args: Any, output: Any) -> Any:
        self.left -= module.training
        if self.left >= 0:
            return output
        spoilt = output[0] if isinstance(output, tuple) else output
        spoilt = spoilt.index_fill(-1, torch.tensor([3]), self.value)
        return (spoilt, *output[1:]) if isinstance(output, tuple) else spoilt


@pytest.mark.parametrize("name", ["transformer.wte", "transformer.h.0.attn", "transformer.h.1.mlp.c_fc", "lm_head"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_module_in_which_a_nan_begins_is_named(train: Train, name: str, value: float) -> None:
    """Whichever module gives the first number that is not finite, it is the one in the report and in the file."""
    model = tiny_model()
    Plant(model.get_submodule(name), 9, value)
    _, doctor = train(model=model, max_steps=12)
    assert doctor is not None and doctor.failure is None
    assert f"the output of {name} is the first tensor that is not finite" in seen(doctor.report, "tensor-not-finite").message
    scene = json.loads((Path(doctor.report.run.path) / "lossdoctor" / "forensics-10.json").read_text())
    assert (scene["first_not_finite"]["what"], scene["first_not_finite"]["name"]) == ("output", name)
    assert len(scene["samples"]) == 8 and scene["labelled"] == [24] * 8


def test_broken_weights_and_a_broken_input_are_told_from_a_broken_module(train: Train) -> None:
    """A weight that was NaN from the start is named as such."""
    model = tiny_model()
    with torch.no_grad():
        model.transformer.h[1].attn.c_attn.weight[2, 5] = math.nan
    _, doctor = train(model=model, max_steps=8)
    assert doctor is not None
    assert "the weights of transformer.h.1.attn.c_attn are not finite" in seen(doctor.report, "tensor-not-finite").message
    assert doctor.report.diagnoses[0].slug == "bad-data-or-weights"


def test_running_a_batch_again_leaves_everything_as_it_was() -> None:
    """Buffers, counters, modes and random states, although the module changes all of them."""

    class Restless(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)
            self.calls, self.register = 0, self.register_buffer("table", torch.zeros(3))
            self.norm.eval()

        def forward(self, x: Any) -> Any:
            self.calls += 1
            self.table += torch.rand(3)
            self.cache = x
            return self.drop(self.norm(x)) * math.nan

    model, batch = Restless(), torch.randn(8, 4)
    before = copy.deepcopy(model.state_dict()), model.calls, [m.training for m in model.modules()], torch.get_rng_state()
    place = first_tensor.find(model, (batch,), {})
    assert place.what == "loss"
    after = model.state_dict(), model.calls, [m.training for m in model.modules()]
    assert all(torch.equal(before[0][name], value) for name, value in after[0].items())
    assert after[1:] == before[1:3] and not hasattr(model, "cache")
    assert torch.equal(torch.get_rng_state(), before[3])
    assert not any(m._forward_hooks for m in model.modules())


def test_a_mask_of_minus_infinity_is_no_fault() -> None:
    """Attention masks hold minus infinity and are sound, except in fp16, where it may be an overflow."""

    class Mask(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.full_like(x, -math.inf).triu(1)

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask, self.value = Mask(), torch.nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return torch.softmax(self.mask(x @ x.T), -1) @ self.value(x)

    assert first_tensor.find(Attention(), (torch.randn(4, 4),), {}).what == "nothing"


def test_the_batch_is_kept_on_request(train: Train) -> None:
    """`keep_batch=True` saves exactly the batch that was NaN; its examples are the ones that the file names."""
    doctor = LossDoctorCallback(sinks=[], keep_batch=True)
    train(Harmless, doctor=doctor, nan_in=lambda n: n == 7, max_steps=10)
    folder = Path(doctor.report.run.path) / "lossdoctor"
    scene = json.loads((folder / "forensics-7.json").read_text())
    batch = torch.load(folder / scene["batch"])
    assert torch.equal(batch["input_ids"], torch.stack([Counting()[row]["input_ids"] for row in scene["samples"]]))


def test_a_batch_beyond_the_limit_is_run_again_where_its_loss_is_known_at_once(train: Train, monkeypatch: Any) -> None:
    """The limit is for batches that wait; the one that is NaN for sure is looked at whatever its size."""
    monkeypatch.setattr(forensics, "KEPT", 100)
    _, doctor = train(Harmless, nan_in=lambda n: n == 7, max_steps=10)
    assert doctor is not None and "run again" in seen(doctor.report, "tensor-not-finite").message


def test_what_the_model_is_called_with_counts_for_the_limit(train: Train, monkeypatch: Any) -> None:
    """A trainer may make embeddings of the inputs, which are far larger: they are not kept beyond the limit."""
    monkeypatch.setattr(trace, "AT_ONCE", False)
    monkeypatch.setattr(forensics, "KEPT", 200_000)
    held: list[int] = []

    class Embedding(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            kept = doctor._instruments._forensics._batches  # type: ignore[union-attr]
            held.append(sum(batch.call[1]["inputs_embeds"].nbytes for batch in kept))
            return model(inputs_embeds=model.get_input_embeddings()(inputs["input_ids"]), labels=inputs["labels"]).loss

    doctor = LossDoctorCallback(sinks=[])
    train(Embedding, doctor=doctor, max_steps=20, logging_steps=20)
    assert doctor.failure is None and 0 < max(held) <= 200_000


@pytest.mark.parametrize("case", ["shuffled", "second epoch", "accumulated", "in order", "resumed"])
def test_the_examples_of_a_batch_are_known(train: Train, tmp_path: Path, case: str, device: str) -> None:
    """The order of the sampler is drawn again, without touching it, and gives the very rows of the batch."""
    data = Numbered(64)
    more: dict[str, Any] = {"train_dataset": data, "max_steps": 14, "logging_steps": 1}
    bad = 11 if case == "second epoch" else 6
    if case == "accumulated":
        more |= {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    if case == "resumed":
        train(doctor=None, save_strategy="steps", save_steps=4, **more)
        more["resume"] = str(tmp_path / "out" / "checkpoint-4")
        bad = 2
    spoil = type("Spoil", (Recording, InOrder if case == "in order" else Trainer), {})
    trainer, doctor = train(spoil, nan_in=lambda n: n == bad, **more)
    assert doctor is not None and doctor.failure is None
    scene = json.loads(next((tmp_path / "out" / "lossdoctor").glob("forensics-*.json")).read_text())
    assert scene["samples"] == trainer.rows[bad - 1]


class Numbered(Counting):
    """Sequences that begin with their own number."""

    def __getitem__(self, row: int) -> dict[str, Any]:
        item = super().__getitem__(row)
        tokens = item["input_ids"].clone()
        tokens[0] = row
        return {"input_ids": tokens, "labels": tokens}


class Recording(Harmless):
    """Remembers which rows each micro-batch had."""

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.rows = [*getattr(self, "rows", []), inputs["input_ids"][:, 0].tolist()]
        return super().training_step(model, inputs, *args, **kwargs)


# --- Weights and checkpoints ------------------------------------------------------------------------------------------


def test_nan_weights_are_not_saved_over_the_last_good_checkpoint(train: Train, tmp_path: Path) -> None:
    """With room for two checkpoints, the good one is still there after 50 more steps, and is named."""
    trainer, doctor = train(NanLoss, nan_in=lambda n: n > 25, max_steps=70, logging_steps=5, save_strategy="steps", save_steps=10,
                            save_total_limit=2)  # fmt: skip
    assert doctor is not None and doctor.failure is None
    assert sorted(p.name for p in (tmp_path / "out").glob("*checkpoint*")) == ["checkpoint-10", "checkpoint-20"]
    assert doctor.report.last_good_checkpoint == str(tmp_path / "out" / "checkpoint-20")
    message = seen(doctor.report, "weights-not-finite").message
    assert message == "28 of 28 trained tensors hold NaN or infinity at step 30: they are no longer saved"
    assert trainer.state.global_step == 70


def test_unprotected_the_good_checkpoint_is_lost(train: Train, tmp_path: Path) -> None:
    """What `protect` is for: the Trainer alone keeps two worthless checkpoints."""
    train(NanLoss, doctor=LossDoctorCallback(sinks=[], protect=False), nan_in=lambda n: n > 25, max_steps=70,
          save_strategy="steps", save_steps=10, save_total_limit=2)  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").glob("*checkpoint*")) == ["checkpoint-60", "checkpoint-70"]


def test_weights_that_are_ruined_and_finite_do_not_rotate_the_good_ones_away(train: Train, tmp_path: Path) -> None:
    """A divergence leaves numbers, so saving goes on; the last good checkpoint is put aside before it would be deleted."""

    class Raised(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
            if state.global_step >= 42:
                for group in optimizer.param_groups:
                    group["lr"] = 1.0

    _, doctor = train(callbacks=[Raised()], max_steps=90, save_strategy="steps", save_steps=10, save_total_limit=2)
    assert doctor is not None and doctor.failure is None and doctor.report.verdict == "critical"
    kept = sorted(p.name for p in (tmp_path / "out").glob("*checkpoint*"))
    assert kept == ["checkpoint-80", "checkpoint-90", "last-good-checkpoint-40"]
    assert doctor.report.last_good_checkpoint == str(tmp_path / "out" / "last-good-checkpoint-40")
    assert lossdoctor.analyze(tmp_path / "out")[0].last_good_checkpoint == doctor.report.last_good_checkpoint


def test_the_best_checkpoint_is_left_where_it_is(train: Train, tmp_path: Path) -> None:
    """The Trainer never deletes its best model, and goes back to it by its path: it is not renamed."""
    _, doctor = train(NanLoss, nan_in=lambda n: n > 25, max_steps=50, save_strategy="steps", save_steps=10, save_total_limit=1,
                      eval_strategy="steps", eval_steps=10, eval_dataset=Counting(16), load_best_model_at_end=True)  # fmt: skip
    assert doctor is not None and doctor.failure is None
    assert [p.name for p in (tmp_path / "out").glob("*checkpoint*")] == ["checkpoint-20"]


def test_healthy_checkpoints_are_saved_as_ever(train: Train, tmp_path: Path) -> None:
    """Without a fault the doctor changes nothing of what is saved and deleted."""
    train(max_steps=50, save_strategy="steps", save_steps=10, save_total_limit=2)
    assert sorted(p.name for p in (tmp_path / "out").glob("*checkpoint*")) == ["checkpoint-40", "checkpoint-50"]


# --- Gradients by layer -----------------------------------------------------------------------------------------------


def test_after_an_anomaly_the_gradient_is_measured_by_layer(train: Train) -> None:
    """One block whose gradient is a thousandfold is named; before the anomaly nothing is measured."""
    model = tiny_model()
    armed: list[bool] = []

    class Loud(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 30 and not armed:
                armed.append(True)
                for parameter in model.transformer.h[1].parameters():
                    parameter.register_hook(lambda gradient: gradient * 1000)

    _, doctor = train(Harmless, model=model, callbacks=[Loud()], nan_in=lambda n: n in (20, 31), max_steps=45, logging_steps=5)
    assert doctor is not None and doctor.failure is None
    symptom = seen(doctor.report, "gradient-by-layer")
    assert symptom.onset == 35 and "largest in transformer.h.1" in symptom.message
    row = next(r for r in doctor.report.records if r.kind == "train" and r.step == 35)
    assert math.hypot(*symptom.evidence.values()) == pytest.approx(row.values["grad_norm"], rel=1e-3)


def test_layers_are_grouped_by_their_blocks() -> None:
    """Whatever wraps the model, a group is a block of layers, or the module where there are no blocks."""
    groups = {
        "transformer.h.0.attn.c_attn.weight": "transformer.h.0",
        "base_model.model.model.layers.11.self_attn.q_proj.lora_A.default.weight": "model.layers.11",
        "module._orig_mod.encoder.block.3.layer.0.SelfAttention.q.weight": "encoder.block.3",
        "lm_head.weight": "lm_head",
        "model.embed_tokens.weight": "model.embed_tokens",
    }
    assert {name: layers.group(name) for name in groups} == groups


# --- how far a step reaches -------------------------------------------------------------------------------------------


def test_a_step_counts_by_the_size_of_the_weights_it_changes() -> None:
    """A step of all ones has the norm √(m·n); weights twice as large are changed half as much."""

    def reach(rows: int, columns: int, size: float) -> float:
        layer = torch.nn.Linear(columns, rows)
        layer.weight.data = size * torch.eye(rows, columns) + 0.001 * size
        return Reach(torch.nn.Sequential(torch.nn.Embedding(9, columns), layer)).read() or 0.0

    assert reach(64, 64, 0.5) == pytest.approx(64 / 0.532, rel=1e-2)
    assert reach(64, 64, 1.0) == pytest.approx(reach(64, 64, 0.5) / 2, rel=1e-4)
    torch.manual_seed(0)
    wide = torch.nn.Linear(300, 200)
    assert Reach(wide).read() == pytest.approx((200 * 300) ** 0.5 / torch.linalg.matrix_norm(wide.weight, 2).item(), rel=0.1)


def test_the_scale_of_an_adapter_counts() -> None:
    """16 times the alpha reaches 16 times as far; what is frozen, or not stored as numbers, does not count."""
    peft = pytest.importorskip("peft")

    def adapted(alpha: int, **more: Any) -> Any:
        torch.manual_seed(0)
        return peft.get_peft_model(tiny_model(), peft.LoraConfig(r=8, lora_alpha=alpha, target_modules="all-linear", **more))

    usual = Reach(adapted(16)).read()
    assert usual and Reach(adapted(256)).read() == pytest.approx(16 * usual, rel=1e-4)
    assert Reach(adapted(16, use_rslora=True)).read() == pytest.approx(8**0.5 * usual, rel=1e-4)
    assert Reach(adapted(16).requires_grad_(False)).read() is None
    assert Reach(torch.nn.LayerNorm(8)).read() is None


@pytest.mark.parametrize(("rate", "told"), [(1e-3, False), (0.3, True)])
def test_a_rate_that_overwrites_the_weights_is_told_from_the_first_row_on(train: Train, rate: float, told: bool) -> None:
    """Of a model that was loaded: of one that is fresh nothing is lost."""
    for name in ("", "somebody/a-tiny-model"):
        model = tiny_model()
        model.config._name_or_path = name
        _, doctor = train(model=model, learning_rate=rate, max_steps=6, warmup_steps=0)
        assert doctor is not None and doctor.failure is None
        assert ("update-too-large" in slugs(doctor.report)) is (told and bool(name))
