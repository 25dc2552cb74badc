"""What is seen of the first examples and of an adapter's gradient, by the batches alone."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lossdoctor import LossDoctorCallback  # noqa: E402
from lossdoctor.facts import live  # noqa: E402
from lossdoctor.probes.adapter_gradient import STEPS, AdapterGradient  # noqa: E402
from lossdoctor.probes.examples import ROWS, Examples  # noqa: E402

CALL = ((), {"labels": None})
END = 2
TEMPLATE = [50, 51, 52, 53]


class TinyForCausalLM(torch.nn.Module):
    """Named as the language models of transformers are."""

    config = SimpleNamespace(eos_token_id=END, is_encoder_decoder=False)


def texts(labels: Any, *, rows: int = 32, length: Any = lambda row: 10 + row % 7, end: bool = True) -> dict[str, Any]:
    """A batch of random texts of these lengths; `labels` makes those of one row from its tokens."""
    draw, ids, targets, mask = random.Random(3), [], [], []
    for row in range(rows):
        number = length(row)
        tokens = [draw.randrange(100, 400) for _ in range(number - 1)] + [END if end else 99]
        tokens[2:6] = TEMPLATE
        ids.append(tokens + [0] * (20 - number))
        targets.append([*labels(tokens), *[-100] * (20 - number)])
        mask.append([1] * number + [0] * (20 - number))
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(targets), "attention_mask": torch.tensor(mask)}


def seen(*batches: dict[str, Any], call: Any = CALL, collator: Any = None) -> dict[str, Any]:
    examples = Examples(TinyForCausalLM(), collator)
    for batch in batches:
        examples.see(batch, call)
    examples.read()
    return examples.facts()


def test_labels_that_are_shifted_before_are_seen() -> None:
    """Where the model was given them, which shifts them again; a loss of one's own may want them so."""
    batch = texts(lambda tokens: [*tokens[1:], -100])
    assert seen(batch)["labels_shifted"] is True
    assert "labels_shifted" not in seen(batch, call=((), {"input_ids": None})) | seen(batch, call=None)
    assert seen(texts(list))["labels_shifted"] is False
    constant = texts(list)
    constant["input_ids"][:] = constant["labels"][:] = 7  # one token again and again is its own successor
    assert seen(constant)["labels_shifted"] is False


def test_examples_that_are_cut_off_are_told_from_those_that_end() -> None:
    """All as long as the longest and without an end; packed rows end in their middle."""
    after = lambda tokens: [-100] * (len(tokens) - 1) + tokens[-1:]  # noqa: E731
    found = seen(texts(after, length=lambda row: 20, end=False))
    assert (found["rows_cut"], found["answer_share"]) == (1.0, 0.05)
    assert seen(texts(after))["rows_cut"] == 0.0
    assert seen(texts(after, length=lambda row: 20))["rows_cut"] == 0.0
    packed = texts(after, length=lambda row: 20, end=False)
    packed["input_ids"][:, 9] = END
    assert "rows_cut" not in seen(packed)


@pytest.mark.parametrize(
    ("template", "found", "part"),
    [
        (TEMPLATE, 1.0, None),
        ([*TEMPLATE, 60], 0.0, TEMPLATE),
        ([61, *TEMPLATE[1:]], 0.0, TEMPLATE[1:]),
        ([61, 62, 63, 64], 0.0, None),
    ],
)
def test_a_response_template_is_looked_for_in_the_examples(template: list[int], found: float, part: list[int] | None) -> None:
    """Where nothing has a label; the longest part of it that stands in each of them is what would work."""
    batch = texts(lambda tokens: [-100] * len(tokens))
    facts = seen(batch, collator=SimpleNamespace(response_token_ids=template))
    assert facts["response_template_found"] == found
    assert facts.get("response_template_in_context") == part
    assert "response_template_found" not in seen(texts(list), collator=SimpleNamespace(response_token_ids=template))


@pytest.mark.parametrize(
    ("order", "low"),
    [
        (lambda: [row // 100 for row in range(400)], True),
        (lambda: random.Random(1).choices(range(4), k=400), False),
        (lambda: random.Random(1).choices((0, 1), (0.95, 0.05), k=1000), False),
        (lambda: [c for c in random.Random(1).choices(range(4), k=50) for _ in range(8)], False),  # a batch sampler's intention
    ],
)
def test_the_order_of_the_classes_is_held_against_a_shuffled_one(order: Any, low: bool) -> None:
    """Batches of eight: one class after another is low; chance, a rare class, and batches of one class each are not."""
    classes = order()
    facts = seen(*({"labels": torch.tensor(classes[first : first + 8])} for first in range(0, len(classes), 8)))
    assert (facts["class_changes"] < 0.1) is low and (low or facts["class_changes"] > 0.6)


def test_one_class_alone_says_nothing() -> None:
    """It may be the only one there is."""
    assert seen(*[{"labels": torch.zeros(8, dtype=torch.long)}] * 50) == {}


def test_no_more_is_kept_than_is_looked_at() -> None:
    """Sixty-four rows, however many come; a batch without labels, or with those of another shape, is passed over."""
    examples = Examples(TinyForCausalLM())
    for _ in range(10):
        examples.see(texts(list), CALL)
    assert examples._number <= ROWS + 32
    examples.see({"labels": torch.zeros(3, 9, dtype=torch.long), "input_ids": torch.zeros(3, 4, dtype=torch.long)}, CALL)
    examples.see({"labels": torch.zeros(3)}, CALL)
    examples.see([1, 2], CALL)
    examples.read()
    assert len(examples._rows) == ROWS


def adapted(head: bool) -> Any:
    """Three adapted layers, and a head that may be trained as well."""
    model = torch.nn.Module()
    model.peft_config = {"default": None}
    model.layers = torch.nn.ModuleDict({f"{n}_lora_A": torch.nn.Linear(2, 2, bias=False) for n in range(3)})
    model.head = torch.nn.Linear(2, 2).requires_grad_(head)
    return model


def test_the_share_of_the_adapter_that_a_gradient_reaches() -> None:
    """Known after the first steps; silent where nothing has one, as where gradients are kept elsewhere."""
    model = adapted(head=True)
    probe = AdapterGradient(model)
    model.head.weight.grad = torch.ones(2, 2)
    for step in range(STEPS):
        assert probe.facts() == {}, step
        if step == 2:
            model.layers["1_lora_A"].weight.grad = torch.ones(2, 2)
        probe.stepped()
    assert probe.facts() == {"adapter_gradient": pytest.approx(1 / 3, abs=1e-4)}
    nothing = AdapterGradient(adapted(head=True))
    for _ in range(STEPS):
        nothing.stepped()
    assert nothing.facts() == {}
    assert AdapterGradient(torch.nn.Linear(2, 2)).facts() == {}


class Sorted(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A hundred examples of each of three classes, one class after another."""

    def __len__(self) -> int:
        return 300

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": torch.tensor([1, 5 + row // 100, 9 + row % 50, 2]), "labels": row // 100}


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_trainer_that_does_not_shuffle_is_told_so(shuffled: bool, tmp_path: Path) -> None:
    """The classes come one after another, and the sampler says that it takes them as they are."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=64, num_labels=3, **shape))
    args = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=1, logging_steps=2, use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True
    )

    class Trainer(transformers.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *more: Any, **names: Any) -> Any:
            kind = torch.utils.data.RandomSampler if shuffled else torch.utils.data.SequentialSampler
            return kind(self.train_dataset)

    doctor = LossDoctorCallback(sinks=[])
    Trainer(model, args, train_dataset=Sorted(), callbacks=[doctor]).train()
    assert doctor.failure is None and not doctor.report.run.unseen
    leading = doctor.report.leading
    assert (leading is not None and leading.slug == "unshuffled-data") is not shuffled
    assert doctor.report.run.get("data_shuffled") is (None if shuffled else False)
    if leading is not None and not shuffled:
        assert leading.remedies[0].settings == {"dataset.shuffle": {"seed": 42}}


@pytest.mark.parametrize(
    ("files", "restored"),
    [
        (("model.safetensors", "scheduler.pt"), False),
        (("model.safetensors", "optimizer.pt"), True),
        (("global_step40", "latest"), True),
        ((), None),
    ],
)
def test_a_resume_without_the_optimizer_is_seen_in_its_checkpoint(
    files: tuple[str, ...], restored: bool | None, tmp_path: Path
) -> None:
    """As the Trainer, FSDP and DeepSpeed call its state; a checkpoint that lies elsewhere says nothing."""
    for name in files:
        (tmp_path / "checkpoint-40").mkdir(exist_ok=True)
        (tmp_path / "checkpoint-40" / name).touch()
    found = live.gather(SimpleNamespace(output_dir=str(tmp_path)), SimpleNamespace(global_step=40))
    assert (found["optimizer_restored"].value if "optimizer_restored" in found else None) is restored
