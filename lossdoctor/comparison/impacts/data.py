"""What is learned from: the data, how it is cut, ordered and put together, and which tokens count."""

from __future__ import annotations

from lossdoctor.comparison.impacts import sources
from lossdoctor.comparison.impacts.rating import Rater, Rating, factor, numbers, shown
from lossdoctor.language import say
from lossdoctor.plan import Plan

PACKING = "https://huggingface.co/docs/trl/sft_trainer"


def data(name: str, one: Plan, other: Plan) -> Rating:
    """Other data is another task."""
    registered = ["factory" in plan.run.words("framework") for plan in (one, other)]
    if registered[0] != registered[1]:
        words = say(
            "{name}: one of them is a name in LLaMA-Factory's dataset_info.json, the other one a place; "
            "whether these are the same examples is not stated, so this is not judged",
            name=shown(name, one, other),
        )
        return Rating(
            "low",
            words,
            judged=False,
        )
    return Rating("high", say("{name}: losses on different data cannot be held against each other", name=shown(name, one, other)))


def max_length(name: str, one: Plan, other: Plan) -> Rating:
    """It matters for the examples that are longer than the smaller limit, and for no other."""
    values = numbers(name, one, other)
    if values is None or min(values) <= 0:
        return Rating(
            "low", say("{name}: matters only for examples that are longer than the smaller limit", name=shown(name, one, other))
        )
    short = int(min(values))
    packed = bool(one.get("packing") or other.get("packing"))
    if packed:
        words = say(
            "with packing every sequence is filled up to the limit, so a step learns from {values:.3g} times as many tokens",
            values=factor(*values),
        )
        return Rating("medium" if factor(*values) >= 1.5 else "low", words, (PACKING,))
    words = say(
        "matters only for examples longer than {short:,} tokens, which are cut there on one side: count "
        "the tokens of each example, and the share above {short:,} is the share of the data that differs",
        short=short,
    )
    cut = short < 512 and factor(*values) >= 2
    if cut:
        words += say("; a limit this low may cut off answers, and an example that is cut before its answer teaches nothing")
    return Rating("medium" if factor(*values) >= 2 else "low", words, (sources.MASKED,) if cut else ())


def packing(name: str, one: Plan, other: Plan) -> Rating:
    """More tokens a step, fewer steps, and examples that may see each other."""
    words = say(
        "packing puts several examples into one sequence: fewer steps, more tokens in each, and without "
        "FlashAttention the examples see each other"
    )
    return Rating("high", words, (PACKING,))


def padding_free(name: str, one: Plan, other: Plan) -> Rating:
    """The same examples without padding."""
    words = say("without padding the same examples are computed with less waste; without FlashAttention they see each other")
    return Rating("medium", words, (PACKING,))


def masked(name: str, one: Plan, other: Plan) -> Rating:
    """Which tokens count changes what the loss is a mean over."""
    words = say(
        "{name}: the loss is a mean over other tokens (the answers alone, or prompts as well), so the "
        "losses of the two cannot be held against each other",
        name=shown(name, one, other),
    )
    return Rating("high", words, (sources.MASKED,))


def grouped(name: str, one: Plan, other: Plan) -> Rating:
    """Long examples come together."""
    words = say("batches of examples of similar length: the loss goes up and down with them, what is learned hardly changes")
    return Rating("low", words, (sources.QLORA,))


def sampled(name: str, one: Plan, other: Plan) -> Rating:
    """In what order the examples come."""
    values = {plan.get(name) for plan in (one, other)}
    if values <= {None, "random", "group_by_length"}:
        return grouped(name, one, other)
    words = say("{name}: examples in the order of the file are learned block by block", name=shown(name, one, other))
    return Rating("medium", words, (sources.QLORA,))


def added_tokens(name: str, one: Plan, other: Plan) -> Rating:
    """Their embeddings begin untrained."""
    words = say("{name} added tokens, whose embeddings begin untrained", name=shown(name, one, other))
    return Rating("medium", words, ("https://www.cs.columbia.edu/~johnhew/vocab-expansion.html",))


def marker(name: str, one: Plan, other: Plan) -> Rating:
    """Where an answer ends, and what is masked behind it."""
    words = say(
        "{name}: where the padding token is the end token, a collator that masks the one masks the "
        "other, and the model does not learn to stop",
        name=shown(name, one, other),
    )
    return Rating("medium", words, (sources.ENDLESS,))


def seed(name: str, one: Plan, other: Plan) -> Rating:
    """The measure of what is noise."""
    words = say(
        "{name}: another order of the examples and another start of new weights; what differs between "
        "two seeds of one configuration is the noise that every other difference has to exceed",
        name=shown(name, one, other),
    )
    return Rating("low", words)


RATERS: dict[str, Rater] = {
    "dataset": data,
    "max_length": max_length,
    "packing": packing,
    "padding_free": padding_free,
    "completion_only_loss": masked,
    "assistant_only_loss": masked,
    "train_on_prompt": masked,
    "eos_token": marker,
    "pad_token": marker,
    "group_by_length": grouped,
    "train_sampling_strategy": sampled,
    "data_shuffled": sampled,
    "tokens_added": added_tokens,
    "seed": seed,
}
