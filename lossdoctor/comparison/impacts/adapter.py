"""What of a model is trained: the method, the layers, and the rank, scale and modules of an adapter."""

from __future__ import annotations

from lossdoctor import slips
from lossdoctor.budgets import SMALL_SET
from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, graded, numbers, said, shown
from lossdoctor.families import billions
from lossdoctor.language import say
from lossdoctor.plan import Plan, Quantity
from lossdoctor.tasks import REINFORCEMENT, adapter, task_of_run

#: From so many examples on an adapter of a usual rank may run out of room.
MUCH_DATA = 100_000
#: The settings that name layers, the first of which counts.
_LAYERS = ("freeze_trainable_layers", "trainable_layers", "lora_layers")
#: A rank from which on small sets of data do not fill an adapter.
ENOUGH = 8


def scale(name: str, one: Plan, other: Plan) -> Rating:
    """alpha / rank multiplies the update: it acts much as the rate does, and rank by itself does not."""
    first, second = one.adapter_scale, other.adapter_scale
    if first is None or second is None:
        words = say(
            "{name}: what the update is multiplied by is alpha / rank, which is not known on both sides",
            name=shown(name, one, other),
        )
        return Rating("medium", words, (sources.RSLORA,))
    rooted = [plan.get("use_rslora") is True for plan in (one, other)]
    kind = say("the scale of the adapter") if rooted[0] != rooted[1] else "alpha/√r" if rooted[0] else "alpha/r"
    if abs(first.value - second.value) <= 1e-6 * first.value:
        words = say(
            "{kind} is {first_value:.4g} in both ({first_how}, {second_how})",
            kind=kind,
            first_value=first.value,
            first_how=first.how,
            second_how=second.how,
        )
        return Rating("none", words + _together(one, other), (sources.RANK, sources.RSLORA))
    times = factor(first.value, second.value)
    words = say(
        "{first}, {second}: the update of the adapter is multiplied by {times} as much on one side, "
        "which acts much as a higher learning rate does",
        first=_worked(first),
        second=_worked(second),
        times=slips.in_times(times),
    )
    return Rating(graded(times, 1.01, 1.5, 4), words, (sources.RSLORA,))


def _worked(scale: Quantity) -> str:
    return f"{scale.how} = {scale.value:.3g}"


def _together(one: Plan, other: Plan) -> str:
    times = factor(one.get("lora_r"), other.get("lora_r"))
    if times == 1:
        return say(", so the update of the adapter is multiplied by as much")
    if times == 2:
        return say(": doubling rank and alpha together adds capacity and does not make the adaptation stronger")
    return say(": raising rank and alpha together adds capacity and does not make the adaptation stronger")


def rank(name: str, one: Plan, other: Plan) -> Rating:
    """A limit of capacity: the curves are the same until it is used up."""
    values = numbers(name, one, other)
    if values is None or min(values) <= 0:
        return Rating("medium", say("{name}: whether there is an adapter at all differs", name=shown(name, one, other)))
    words = say(
        "rank limits what can be stored ({values} the capacity), not how fast or how strongly is learned",
        values=slips.in_times(factor(*values)),
    )
    if task_of_run(one.run) == task_of_run(other.run) == REINFORCEMENT:
        return Rating("low", say("{words}; reinforcement learning needs very little of it", words=words), (sources.RANK,))
    rows = [plan.get("dataset_size") for plan in (one, other)]
    known = [count for count in rows if isinstance(count, int)]
    if known and max(known) >= MUCH_DATA and factor(*values) >= 2:
        words += say("; {known:,} examples may fill an adapter, and then the rank does matter", known=max(known))
        return Rating("medium", words, (sources.RANK, sources.LESS))
    if min(values) < ENOUGH and factor(*values) >= 4:
        return Rating(
            "medium", say("{words}; a rank of {values:.0f} may run out of it", words=words, values=min(values)), (sources.RANK,)
        )
    if known and max(known) <= SMALL_SET and min(values) >= ENOUGH:
        words += say("; {known:,} examples hardly fill a rank of {values:.0f}", known=max(known), values=min(values))
    return Rating("low", words, (sources.RANK, sources.LESS))


def kind_of_scale(name: str, one: Plan, other: Plan) -> Rating:
    """alpha / √rank instead of alpha / rank."""
    words = say("with rsLoRA the update is multiplied by alpha/√rank instead of alpha/rank, which is √rank times as much")
    return Rating("medium", words, (sources.RSLORA,))


def dropout(name: str, one: Plan, other: Plan) -> Rating:
    """Weaker than the adapter itself."""
    values = numbers(name, one, other)
    if values and max(values) >= 1:
        return Rating("high", say("{name}: a dropout of 1 or more leaves nothing", name=shown(name, one, other)), (sources.LESS,))
    far = values is not None and abs(values[0] - values[1]) >= 0.25
    words = say("{name}: LoRA itself regularises more than dropout does", name=shown(name, one, other))
    return Rating("medium" if far else "low", words, (sources.LESS,))


def modules(name: str, one: Plan, other: Plan) -> Rating:
    """Attention alone does worse, even at the same number of parameters."""
    lists = [_modules(plan.get(name)) for plan in (one, other)]
    words = say("{name} against {name2}", name=said(one.get(name)), name2=said(other.get(name)))
    whole = [_has_feed_forward(names) for names in lists]
    if whole[0] != whole[1]:
        words += say(
            ": adapters on attention alone do worse than those on the feed-forward layers too, even at the same "
            "number of parameters"
        )
        return Rating("high", words, (sources.RANK, sources.LESS))
    return Rating(
        "medium", say("{words}: which layers are adapted matters more than the rank", words=words), (sources.RANK, sources.LESS)
    )


def _modules(value: object) -> list[str]:
    return [str(name).lower() for name in value] if isinstance(value, (list, tuple)) else [str(value).lower()]


def _has_feed_forward(names: list[str]) -> bool:
    words = ("all", "gate", "up_proj", "down_proj", "fc", "mlp", "dense", "w1", "w2", "w3", "wi", "wo", "c_proj")
    return any(word in name for name in names for word in words)


def trained_layers(name: str, one: Plan, other: Plan) -> Rating:
    """By their number and by which ones they are."""
    first, second = one.trained_layers, other.trained_layers
    if first is None or second is None:
        return Rating("medium", say("{name}: on one side it is not said which layers are trained", name=shown(name, one, other)))
    words = say("{first_words} against {second_words}", first_words=first.words, second_words=second.words)
    if first == second:
        stated = [next((plan.get(key) for key in _LAYERS if plan.get(key) is not None), None) for plan in (one, other)]
        return Rating(
            "none",
            say(
                "{first_stated} and {second_stated} are both {first_words}",
                first_stated=said(stated[0]),
                second_stated=said(stated[1]),
                first_words=first.words,
            ),
        )
    if (first.total is None or second.total is None) and first.count == second.count and _ends(first.indexes, second.indexes):
        total = max((*first.indexes, *second.indexes)) + 1
        return Rating(
            "low",
            say(
                "{words}: these are the same {count} layers if the model has {total}; how many it has is not stated",
                words=words,
                count=first.count,
                total=total,
            ),
        )
    if first.count is None or second.count is None or not first.count or not second.count:
        return Rating("medium", words, (sources.RANK,))
    times = factor(first.count, second.count)
    if times == 1:
        return Rating("medium", say("{words}: as many layers, but other ones", words=words), (sources.RANK,))
    return Rating(
        graded(times, 1.01, 1.26, 3),
        say("{words}: {times} as many are trained on one side", words=words, times=slips.in_times(times)),
        (sources.RANK,),
    )


def _ends(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether indexes from the end and from the front may be the same: the gaps between them are."""
    negative = [bool(indexes) and indexes[-1] < 0 for indexes in (one, other)]
    return (
        bool(one and other)
        and negative[0] != negative[1]
        and {a - b for a, b in zip(one, other, strict=False)} == {one[0] - other[0]}
    )


def trainable(name: str, one: Plan, other: Plan) -> Rating:
    """What follows from method, rank, modules and layers together."""
    values = numbers("trainable_parameters", one, other)
    if values is None or min(values) <= 0:
        return Rating("medium", shown("trainable_parameters", one, other))
    shares = [_share(plan, value) for plan, value in zip((one, other), values, strict=True)]
    words = say(" and ").join(
        say("{value:,.0f} trained parameters{share}", value=value, share=share)
        for value, share in zip(values, shares, strict=True)
    )
    words += say("; that is room, and follows from method, rank, modules and layers")
    return Rating(graded(factor(*values), 1.01, 4, 50), words, (sources.RANK,))


def _share(plan: Plan, value: float) -> str:
    size = billions(plan.run)
    return say(" ({value:.2g} % of {size:g} billion)", value=100 * value / (size * 1000000000.0), size=size) if size else ""


def method(name: str, one: Plan, other: Plan) -> Rating:
    """An adapter learns and forgets less, and wants ten times the rate."""
    kinds = [adapter(plan.run) for plan in (one, other)]
    named = [plan.get("finetuning_type") for plan in (one, other)]
    if kinds[0] != kinds[1]:
        words = say("an adapter learns less and forgets less than all weights do, and wants about ten times the learning rate")
        return Rating("high", words, (sources.LORA[0], sources.LESS))
    if kinds[0] is False and ("freeze" in str(named[0])) != ("freeze" in str(named[1])):
        return Rating("medium", say("some of the layers are trained on one side, and all of them on the other"), (sources.RANK,))
    whole = say("an adapter is trained") if kinds[0] else say("no adapter is trained")
    return Rating(
        "none",
        say(
            "{first_named} and {second_named}: {whole} on both sides",
            first_named=said(named[0]),
            second_named=said(named[1]),
            whole=whole,
        ),
    )


def saved_modules(name: str, one: Plan, other: Plan) -> Rating:
    """Modules trained whole beside the adapter."""
    words = say(
        "{name}: modules trained whole beside the adapter; where tokens were added, without it their "
        "embeddings stay as they began",
        name=shown(name, one, other),
    )
    return Rating("medium", words, ("https://huggingface.co/docs/peft/developer_guides/lora",))


def dora(name: str, one: Plan, other: Plan) -> Rating:
    """Variants and plain LoRA come to the same once batch and rate are tuned."""
    return Rating("low", say("with a tuned batch and rate plain LoRA does as well as its variants"), (sources.VARIANTS,))


def quantised(name: str, one: Plan, other: Plan) -> Rating:
    """Stored weights are rounded; the adapter is trained in 16 or 32 bits either way."""
    words = say(
        "{name}: the frozen weights are stored in fewer bits, the adapter is trained as before; the "
        "first loss is a little higher, and memory is saved",
        name=shown(name, one, other),
    )
    return Rating("low", words, (sources.QLORA,))


RATERS: dict[str, Rater] = {
    "adapter scale": scale,
    "lora_alpha": scale,
    "lora_r": rank,
    "use_rslora": kind_of_scale,
    "use_dora": dora,
    "lora_dropout": dropout,
    "lora_target_modules": modules,
    "lora_modules_to_save": saved_modules,
    "trained layers": trained_layers,
    "trainable_layers": trained_layers,
    "freeze_trainable_layers": trained_layers,
    "lora_layers": trained_layers,
    "trainable parameters": trainable,
    "trainable_parameters": trainable,
    "what is trained": method,
    "finetuning_type": method,
    "peft_type": method,
    "use_lora": method,
    "quantization": quantised,
}
