"""What the live doctor finds, costs and waits for on a GPU: real fine-tunes of models made from their configurations.

python benchmarks/gpu.py                        # all checks and tables, several minutes
python benchmarks/gpu.py --quick                # fewer repetitions
python benchmarks/gpu.py --device cpu --quick   # tries the script where there is no GPU

Exit status: 0 where every check holds, 1 where one failed, 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: the same sums in every run
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # of several GPUs the Trainer would make one DataParallel
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would say on stderr that it starts and stops
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import torch
import transformers
from fp16_collapse import Counting, HalfPrecisionTrainer, arguments, tiny_model
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainerCallback

import lossdoctor
from lossdoctor import LossDoctorCallback, hardware
from lossdoctor.model import Report, Symptom
from lossdoctor.probes import trace

OVERFLOWING = 850_000.0
BAD = (57, 58, 121)
LOGGING = 10
COPIES, WITHIN, LAUNCHES = "Memcpy DtoH", "Memcpy DtoD", "kernels launched"
#: Each of these makes the host wait for the device, or is how a tensor becomes a number of Python.
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item", "aten::_local_scalar_dense")
QUIET, ROW, WARM = "without a log row", "with a log row", "not counted"


class Skipped(Exception):
    """A check that cannot be made on this machine; the text says why."""


@dataclass(frozen=True)
class Machine:
    """Where the script runs, how often it repeats, and where the runs put what they write."""

    gpu: bool
    quick: bool
    folder: str

    def precision(self, *names: str) -> dict[str, bool]:
        """The arguments of the first of these precisions that this machine computes; `Skipped` where it has none of them."""
        major = torch.cuda.get_device_properties(0).major if self.gpu else 8  # a CPU emulates bf16
        found = next((name for name in names if name == "fp16" or (major >= 8 and (self.gpu or name == "bf16"))), None)
        if found is None:
            raise Skipped(f"{names[0]} needs a GPU of compute capability 8.0")
        return {"fp16": False, found: True}

    def wait(self) -> None:
        """Until the device is idle."""
        if self.gpu:
            torch.cuda.synchronize()


class Spoilt(Trainer):
    """A Trainer whose loss is NaN in the micro-batches that `nan_in` chooses, from 1 on; 0 or NaN is all their gradient."""

    def __init__(self, *args: Any, nan_in: Callable[[int], bool], gradient: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nan_in, self.gradient, self.batches = nan_in, gradient, 0

    def training_step(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss of a micro-batch, spoilt after its backward pass."""
        loss = super().training_step(model, *args, **kwargs)
        self.batches += 1
        if not self.nan_in(self.batches):
            return loss
        for parameter in model.parameters():
            parameter.grad.fill_(self.gradient)
        return loss * math.nan


class Scales(TrainerCallback):
    """Asks the scaler itself for its scale around every step, and waits for the answer."""

    def __init__(self) -> None:
        self.scales: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        """Notes the scale."""
        self.scales.append(optimizer.scaler.get_scale())

    on_step_begin = on_step_end


def train(machine: Machine, kind: Any = Trainer, *, doctor: Any = None, model: Any = None, **more: Any) -> Trainer:
    """Trains the example's tiny model, or another, in a folder of its own, in silence; `more` are arguments of the run."""
    callbacks = [*more.pop("callbacks", ()), *([doctor] if doctor else [])]
    data = more.pop("data", None) or Counting()
    settings = {"max_steps": 60, "save_strategy": "no", "fp16": False, "disable_tqdm": True, "use_cpu": not machine.gpu,
                "logging_steps": LOGGING, "per_device_train_batch_size": 8, "optim": "adamw_torch_fused", **more}  # fmt: skip
    if settings["fp16"] and not machine.gpu:
        kind = HalfPrecisionTrainer
    options = arguments(tempfile.mkdtemp(dir=machine.folder), **settings)
    trainer = kind(model or tiny_model(), options, train_dataset=data, callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def claim(holds: object, why: str) -> None:
    """Ends a check that does not hold."""
    if not holds:
        raise AssertionError(why)


def outcome(doctor: LossDoctorCallback) -> Report:
    """What a doctor found; neither it nor one of its probes may have been switched off."""
    claim(doctor.failure is None, f"the doctor failed: {doctor.failure}")
    unseen = [f"{missing.what}: {missing.why}" for missing in doctor.report.run.unseen]
    claim(not unseen, "; ".join(unseen))
    return doctor.report


def seen(report: Report, *slugs: str) -> Symptom:
    """The first symptom of these names, which must be there."""
    found = next((symptom for symptom in report.symptoms if symptom.slug in slugs), None)
    claim(found, f"no {' or '.join(slugs)}, only {', '.join(s.slug for s in report.symptoms) or 'nothing'}")
    return found  # type: ignore[return-value]


def finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no tensor holds a NaN or an infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def overflow(machine: Machine, optim: str, at_once: bool) -> None:
    """fp16 overflows: the loss is known to be lost, each skipped step is counted, cause and module are named."""
    doctor, watch = LossDoctorCallback(sinks=[], at_once=at_once), Scales()
    trainer = train(machine, doctor=doctor, callbacks=[watch], model=tiny_model(OVERFLOWING), fp16=True, max_steps=80,
                    optim=optim, per_device_train_batch_size=32)  # fmt: skip
    report = outcome(doctor)
    seen(report, "loss-not-finite", "loss-collapse-to-zero")
    fallen = sum(after < before for before, after in pairwise(watch.scales))
    skipped = seen(report, "skipped-steps").evidence["skipped"]
    claim(skipped == fallen > 0, f"{skipped:.0f} skipped steps were counted, and the scale fell {fallen} times")
    first = report.diagnoses[0].slug if report.diagnoses else "none"
    claim(first == "fp16-overflow", f"the first cause is {first}")
    place = next(iter(seen(report, "tensor-not-finite").evidence))
    what, _, name = place.partition("/")
    claim(what == "output" and name in dict(trainer.model.named_modules()), f"the first tensor is {place}, no output of a module")


def healthy(machine: Machine, precision: str) -> None:
    """A sound fine-tune brings no warning, and leaves no file of the doctor's."""
    doctor = LossDoctorCallback(sinks=[])
    trainer = train(machine, doctor=doctor, max_steps=100, learning_rate=1e-4, **machine.precision(precision))
    report = outcome(doctor)
    warned = [f"{s.slug} ({s.message})" for s in report.symptoms if s.severity != "info"]
    claim(not warned and report.verdict == "healthy", f"{report.verdict}: {', '.join(warned)}")
    claim(not Path(trainer.args.output_dir, "lossdoctor").exists(), "a file was written")


def facts(machine: Machine, precision: str) -> None:
    """What the doctor knows of the GPU and the precision is what the driver and the arguments say."""
    if not machine.gpu:
        raise Skipped("there is no GPU to know of")
    doctor = LossDoctorCallback(sinks=[])
    train(machine, doctor=doctor, max_steps=2, **machine.precision(precision))
    run, card = outcome(doctor).run, torch.cuda.get_device_properties(0)
    known = run.get("device"), run.get("gpu"), hardware.compute_capability(run), run.get("bf16_in_hardware"), run.get(precision)
    right = "cuda", card.name, float(f"{card.major}.{card.minor}"), card.major >= 8, True
    claim(known == right, f"known are {known}, right is {right}")


def hidden(machine: Machine) -> None:
    """Three NaN micro-batches in 200 steps are named by their steps, and the weights are unharmed."""
    doctor = LossDoctorCallback(sinks=[])
    trainer = train(machine, partial(Spoilt, nan_in=lambda n: n in BAD, gradient=0.0), doctor=doctor, max_steps=200)
    symptom = seen(outcome(doctor), "hidden-nan-steps")
    right = "the loss of 3 micro-batches was NaN in steps 57, 58 and 121"
    claim((symptom.message, symptom.severity) == (right, "warning"), f"{symptom.severity}: {symptom.message}")
    claim(finite(trainer.model.parameters()), "the weights are not finite: the fault was not as planned")


def lost(machine: Machine) -> None:
    """NaN for ever in bf16: the weights are known to be lost, and the checkpoints of sound ones stay, whatever the limit."""
    doctor = LossDoctorCallback(sinks=[])
    trainer = train(machine, partial(Spoilt, nan_in=lambda n: n > 25, gradient=math.nan), doctor=doctor, max_steps=70,
                    save_strategy="steps", save_steps=10, save_total_limit=2, **machine.precision("bf16"))  # fmt: skip
    report = outcome(doctor)
    claim(not finite(trainer.model.parameters()), "the weights are finite: the fault was not as planned")
    claim(seen(report, "weights-not-finite").severity == "critical", "the lost weights are not critical")
    kept = sorted(Path(trainer.args.output_dir).glob("*checkpoint*"))
    claim([p.name for p in kept] == ["checkpoint-10", "checkpoint-20"], f"kept are {', '.join(p.name for p in kept) or 'none'}")
    claim(all(finite(load_file(path / "model.safetensors").values()) for path in kept), "a kept checkpoint is not finite")
    claim(report.last_good_checkpoint == str(kept[-1]), f"the last good one is {report.last_good_checkpoint}")


def unchanged(machine: Machine, precision: str) -> None:
    """Weights are the same bit for bit with and without the doctor, although it runs a batch again and dropout draws numbers."""
    planted = {} if precision == "fp16" else {"kind": partial(Spoilt, nan_in=lambda n: n == 7, gradient=0.0)}
    options = machine.precision(precision)
    weights: list[list[torch.Tensor]] = []
    for doctor in (None, None, LossDoctorCallback(sinks=[]), LossDoctorCallback(sinks=[], at_once=True)):
        model = tiny_model(OVERFLOWING if precision == "fp16" else 1.0)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
        torch.use_deterministic_algorithms(True, warn_only=True)
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels may add up in another order in each run
            train(machine, doctor=doctor, model=model, max_steps=40, **options, **planted)
        torch.use_deterministic_algorithms(False)
        weights.append([parameter.detach().cpu() for parameter in model.parameters()])
        if doctor:
            seen(outcome(doctor), "tensor-not-finite")  # else no batch was run again, and little is claimed
    claim(finite(weights[0]), "the weights are not finite: the fault was not as planned")
    again, watched, at_once = (all(map(torch.equal, weights[0], others)) for others in weights[1:])
    claim(again, "two runs without the doctor differ already: this machine cannot tell")
    claim(watched and at_once, f"the weights differ with the doctor, {'at_once=True' if watched else 'as it is'}")


def checks(machine: Machine) -> Iterator[tuple[str, Callable[[], None]]]:
    """All checks by name."""
    for optim in ("adamw_torch", "adamw_torch_fused"):
        for at_once in (False, True):
            yield f"fp16 overflow, {optim}, at_once={at_once}", partial(overflow, machine, optim, at_once)
    for precision in ("bf16", "tf32"):
        yield f"healthy in {precision}: no warning", partial(healthy, machine, precision)
        yield f"facts of the GPU in {precision}", partial(facts, machine, precision)
    yield "3 NaN micro-batches in 200 steps: steps named", partial(hidden, machine)
    yield "NaN for ever in bf16: checkpoints protected", partial(lost, machine)
    for precision in ("fp16", "bf16", "tf32"):
        yield f"same weights bit for bit in {precision}", partial(unchanged, machine, precision)


def judge(name: str, check: Callable[[], object]) -> bool:
    """Makes a check and says how it came out; whether it did not fail."""
    try:
        check()
        said = "ok"
    except Skipped as reason:
        said = f"skipped: {reason}"
    except Exception as error:  # one that breaks must not hide those after it
        said = f"FAILED: {'' if isinstance(error, AssertionError) else f'{type(error).__name__}: '}{error}"
    print(f"{name:<50} {said}", flush=True)
    return not said.startswith("FAILED")


class Clock(TrainerCallback):
    """Takes the time at the ends of blocks of steps with one log row each, when the device is idle."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.times: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends a block and begins the next."""
        if state.global_step % LOGGING == 0:
            self.machine.wait()
            self.times.append(time.perf_counter())

    @property
    def per_step(self) -> float:
        """Milliseconds: the median of all blocks but the first, in which memory is allocated."""
        return 1000 * statistics.median(after - before for before, after in pairwise(self.times[1:])) / LOGGING


def gpt2(machine: Machine) -> GPT2LMHeadModel:
    """GPT-2 in its own size, made where it will be trained."""
    if not machine.gpu:
        raise Skipped("it needs a GPU")
    torch.manual_seed(0)
    with torch.device("cuda"):
        return GPT2LMHeadModel(GPT2Config(loss_type="ForCausalLM"))


def overhead(machine: Machine, name: str, model: Callable[[], Any], length: int, steps: int) -> None:
    """Times pairs of runs with and without the doctor, in turns, and prints the median of their ratios with its quartiles."""
    pairs: list[dict[bool, float]] = []
    for turn in range(6 if machine.quick else 21):
        pairs.append({})
        for watched in (False, True) if turn % 2 else (True, False):
            clock, doctor = Clock(machine), LossDoctorCallback(sinks=[]) if watched else None
            changes: dict[str, Any] = {"max_steps": steps, "data": Counting(length=length), **machine.precision("bf16", "fp16")}
            train(machine, doctor=doctor, callbacks=[clock], model=model(), **changes)
            pairs[-1][watched] = clock.per_step
    del pairs[0]  # libraries warm up in it
    low, middle, high = statistics.quantiles([pair[True] / pair[False] for pair in pairs], n=4)
    plain, with_it = (statistics.median(pair[there] for pair in pairs) for there in (False, True))
    print(f"  {name:<46} {plain:8.3f} {with_it:8.3f} {middle:8.4f}  {low:.4f} to {high:.4f} {len(pairs):7}", flush=True)


class Windows(TrainerCallback):
    """Profiles stretches of steps between two rows, and single steps that are logged."""

    def __init__(self, machine: Machine, rows: int) -> None:
        self.machine = machine
        self.profiler: Any = None
        self.steps: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {what: Counter() for what in (QUIET, ROW, WARM)}
        self.windows = [(1, LOGGING - 1, WARM)]  # the first window of a profiler may miss what the device did
        for row in range(LOGGING, LOGGING * (rows + 1), LOGGING):
            self.windows += [(row + 1, row + LOGGING - 1, QUIET), (row + LOGGING - 1, row + LOGGING, ROW)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ends a window and begins the next."""
        for begin, end, what in self.windows:
            if state.global_step == end:
                self.profiler.stop()
                self.steps[what] += end - begin
                self.counts[what].update(counted(self.profiler))
            if state.global_step == begin:
                self.machine.wait()  # what the device still had to do is no part of it
                device = [ProfilerActivity.CUDA] if self.machine.gpu else []
                self.profiler = profile(activities=[ProfilerActivity.CPU, *device])
                self.profiler.start()


def counted(profiler: Any) -> Counter[str]:
    """The copies, waits and launches that a profiler saw."""
    found: Counter[str] = Counter()
    for event in profiler.key_averages():
        name = LAUNCHES if event.key.startswith(("cudaLaunchKernel", "cuLaunchKernel")) else event.key.partition(" (")[0]
        found[name] += event.count
    return found


def synchronisations(machine: Machine, changes: dict[str, Any]) -> None:
    """Between two rows the doctor waits for nothing and copies nothing to the host; prints all that it adds, per step."""
    both = [Windows(machine, 3 if machine.quick else 10) for _ in range(2)]
    for windows, doctor in zip(both, (None, LossDoctorCallback(sinks=[])), strict=True):
        train(machine, doctor=doctor, callbacks=[windows], max_steps=windows.windows[-1][1] + 1, **changes)
        if doctor:
            outcome(doctor)
    added = []
    for what in (QUIET, ROW):
        steps, (without, watched) = both[0].steps[what], (windows.counts[what] for windows in both)
        for name in (COPIES, *WAITS, WITHIN, LAUNCHES) if machine.gpu else WAITS[-2:]:
            more = (watched[name] - without[name]) / steps
            print(f"  {f'{what}: {name}':<46} {without[name] / steps:8.2f} {watched[name] / steps:8.2f} {more:+8.2f}")
            if more and what == QUIET and name not in (WITHIN, LAUNCHES):
                added.append(f"{more:+.2f} {name}")
    row = both[0].counts[ROW]  # the Trainer reads its loss there
    claim(row["aten::item"] and (row[COPIES] or not machine.gpu), "the profiler saw nothing")
    claim(not added, f"the doctor adds per step without a log row: {', '.join(added)}")


def measure(machine: Machine) -> Iterator[bool]:
    """Prints the tables of time and of synchronisations; whether nothing failed."""
    print(f"\n{'milliseconds per step, medians of pairs':<48} {'without':>8} {'with':>8} {'ratio':>8}  quartiles          pairs")
    large = partial(overhead, machine, "GPT-2, 8 sequences of 512 tokens", partial(gpt2, machine), 512, 50)
    small = partial(overhead, machine, "2 layers, 8 sequences of 24 tokens", tiny_model, 24, 100 if machine.quick else 200)
    yield judge("time per step, GPT-2", large)
    yield judge("time per step, a model bound by launches", small)
    print(f"\n{'counted by a profiler, per step':<48} {'without':>8} {'with':>8} {'added':>8}")
    if not machine.gpu:
        print(f"  skipped, since they need a GPU: {', '.join((COPIES, *WAITS[:3], WITHIN, LAUNCHES))}")
    mixed = machine.precision("bf16", "fp16")
    variants = {"bf16 or what there is": mixed, "fp16 and its scaler": {"fp16": True}}
    variants["without the filter of NaN"] = {**mixed, "logging_nan_inf_filter": False}
    for name, changes in variants.items():
        yield judge(f"no wait is added: {name}", partial(synchronisations, machine, changes))


def main() -> int:
    """Reads the arguments, names the machine, and makes all checks and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: try the script without a GPU")
    chosen = parser.parse_args()
    gpu = chosen.device == "cuda"
    if gpu and not torch.cuda.is_available():
        print("benchmarks/gpu.py: there is no CUDA device; `--device cpu` tries what can be tried without one", file=sys.stderr)
        return 2
    card = "CPU, numbers read as late as on a device"
    if gpu:
        card = f"{torch.cuda.get_device_name()}, compute capability {'.'.join(map(str, torch.cuda.get_device_capability()))}"
    else:
        torch.set_num_threads(1)
        trace.AT_ONCE = False  # a CPU knows its numbers at once: nothing would be tried of what happens on a device
    print(f"{card}; CUDA {torch.version.cuda or 'none'}; torch {torch.__version__}; transformers {transformers.__version__}; "
          f"lossdoctor {lossdoctor.__version__}\n")  # fmt: skip
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(gpu, chosen.quick, folder)
        passed = [judge(name, check) for name, check in checks(machine)]
        passed += measure(machine)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
