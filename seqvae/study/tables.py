"""A study as one page: what each remedy needs at matched rates, and the winners on fresh seeds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from ..measures.probe import CARRIED
from ..metrics import hierarchical_bootstrap, repayment
from ..verdict import verdict
from .design import Cell
from .records import Block, Figures, Records, finals

LEAST_RATE = 0.1  # nats below which there is nothing to repay
MATCHED = ("remedy", "knob", "rates R", "cost")
OF_A_RUN = ("model", "value", "seeds", "R", "D", "-ELBO - LM", "IW-NLL", "IW-NLL - LM", "eta")
OF_ITS_CODE = ("MI", "active", "dimension", "KL(q(z), p)", "shuffled", "verdict")
OF_ITS_COST = ("updates", "encoder steps", "LM steps", "weights")


class Seeds:
    """One winner over its seeds, beside a language model on the same items."""

    def __init__(
        self, records: Records, cells: Sequence[Cell], line: Sequence[Cell], split: str
    ) -> None:
        seeds = {cell.seed: records.figures(cell, split) for cell in cells}
        without = {cell.seed for cell in line if records.figures(cell, split) is not None}
        self.cells = [cell for cell in cells if seeds[cell.seed] is not None]
        self.figures: list[Figures] = [f for f in seeds.values() if f is not None]
        self.paired = [cell for cell in self.cells if cell.seed in without]
        self._judged = [found for cell in self.paired if (found := seeds[cell.seed]) is not None]
        models = {cell.seed: cell for cell in line}
        self.pairs = [
            (records.each(cell, split), records.each(models[cell.seed], split))
            for cell in self.paired
        ]

    def mean(self, key: str) -> float | None:
        """Over the seeds; None where it is not defined for each."""
        found = [figures[key] for figures in self.figures if figures.get(key) is not None]
        return mean(found) if found and len(found) == len(self.figures) else None

    def repaid(self) -> tuple[float, float, float] | None:
        """eta with its interval over seeds and items; None where there is no code to repay."""
        if not self.pairs or any("rate" not in each for each, _ in self.pairs):
            return None
        values = torch.stack([_columns(each, line) for each, line in self.pairs])
        means = values.mean((0, 1))
        if not float(means[2]) >= LEAST_RATE:
            return None
        between = hierarchical_bootstrap(values, lambda m: repayment(*m.unbind(-1)))
        return float(repayment(*means)), *between

    def price(self) -> tuple[float, float, float] | None:
        """-ELBO less the language model's NLL, nats an item, with its interval."""
        if not self.pairs or any("rate" not in each for each, _ in self.pairs):
            return None
        columns = torch.stack([_columns(each, line) for each, line in self.pairs])
        values = columns @ torch.tensor([-1.0, 1.0, 1.0], dtype=columns.dtype)
        return float(values.mean()), *hierarchical_bootstrap(values)

    def beyond(self) -> tuple[float, float, float] | None:
        """IW-NLL less the language model's NLL, nats an item, with its interval."""
        if not self.pairs or any("iw_nll" not in each for each, _ in self.pairs):
            return None
        values = torch.stack([_difference(each, line) for each, line in self.pairs])
        return float(values.mean()), *hierarchical_bootstrap(values)

    def verdicts(self) -> str:
        """How many of the seeds get which verdict, against the language model's."""
        counted = Counter(
            found.name
            for figures, (each, line) in zip(self._judged, self.pairs, strict=True)
            if (found := verdict(_repaid(figures, each, line))) is not None
        )
        return ", ".join(f"{name} {count}" for name, count in counted.most_common()) or "—"

    def as_json(self) -> dict[str, Any]:
        """Means over seeds, and what each seed gave."""
        keys = dict.fromkeys(key for figures in self.figures for key in figures)
        numbers = [k for k in keys if isinstance(self.figures[0].get(k), int | float)]
        return {
            "mean": {key: self.mean(key) for key in numbers},
            "repayment": self.repaid(),
            "negative_elbo_less_lm": self.price(),
            "iw_nll_less_lm": self.beyond(),
            "verdicts": self.verdicts(),
            "seeds": {
                cell.seed: {key: figures.get(key) for key in numbers}
                for cell, figures in zip(self.cells, self.figures, strict=True)
            },
        }


def _sorted(each: Mapping[str, Tensor], name: str) -> Tensor:
    """A figure of every item in the order of the items."""
    return each[name].double()[each["item"].argsort()]


def _columns(each: Mapping[str, Tensor], line: Mapping[str, Tensor]) -> Tensor:
    """NLL without a code, D and R of the same items (N, 3)."""
    parts = [(line, "reconstruction"), (each, "reconstruction"), (each, "rate")]
    return torch.stack([_sorted(of, name) for of, name in parts], 1)


def _difference(each: Mapping[str, Tensor], line: Mapping[str, Tensor]) -> Tensor:
    """IW-NLL less the language model's NLL, of those items that were weighed (M,)."""
    order = each["iw_item"].argsort()
    places = torch.searchsorted(line["item"].sort().values, each["iw_item"][order])
    return each["iw_nll"].double()[order] - _sorted(line, "reconstruction")[places]


def _repaid(
    figures: Figures, each: Mapping[str, Tensor], line: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The figures with what the language model adds to a verdict."""
    nll = float(line["reconstruction"].double().mean())
    rate = figures.get("kl")
    if rate is None or rate < LEAST_RATE:
        return {**figures, "baseline_nll": nll}
    return {
        **figures,
        "baseline_nll": nll,
        "repayment": (nll - figures["reconstruction"]) / rate,
    }


def page(records: Records, choices: Mapping[str, Block]) -> tuple[str, dict[str, Any]]:
    """The study as Markdown, and as plain data."""
    study, parts, data = records.study, [f"# {records.study.name}", ""], {}
    parts += [study.about, ""] if study.about else []
    for name, block in choices.items():
        text, found = _block(records, name, block, dict(choices))
        parts += text
        data[name] = found
    failed = list(_failures(records, choices))
    parts += ["## What could not be", "", *(failed or ["Everything could."]), ""]
    return "\n".join(parts), {"blocks": data, "failed": failed}


def _block(
    records: Records, name: str, block: Block, choices: dict[str, Block]
) -> tuple[list[str], dict[str, Any]]:
    cells = [c for c in finals(records.study, choices) if "/".join(c.block) == name]
    tested = bool(cells) and all(records.done(cell, "test") for cell in cells)
    split = "test" if tested else "valid"
    models = _models(block, cells)
    rows: dict[bool, list[tuple[str, ...]]] = {True: [], False: []}  # at equal updates, or not
    data: dict[str, Any] = {}
    for (entry, share), some in _grouped(cells).items():
        beside = {model: Seeds(records, some, line, split) for model, line in models.items()}
        seeds = beside[block["line"]]
        if seeds.figures:
            rows[share == 1].append(_row(records, block, some[0], beside))
            data[entry if share == 1 else f"{entry}, equal compute"] = seeds.as_json()
    text = [f"## {name}", "", *_matched(records, block), ""]
    text += _factors(_swept(records, name), f"the sweep, seed {records.study.sweep_seed}")
    text += [f"### Runs on fresh seeds, {split} split, equal updates", "", *_about(block), ""]
    text += [*markdown([_head(models), *rows[True]]), ""]
    means = {model: one["mean"] for model, one in data.items()}
    text += _factors(means, f"{split} split, means over seeds")
    if rows[False]:
        text += [
            f"### At equal compute, {split} split",
            "",
            f"Those dearer than `{records.study.reference}`, with as many updates as cost as "
            "much; all others stand above.",
            "",
            *markdown([_head(models), *rows[False]]),
            "",
        ]
    return text, {**block, "split": split, "finals": data}


def _models(block: Block, cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The runs of every language model, those of the remedies' decoder first."""
    names = [model["entry"] for model in block["language_models"]]
    names.sort(key=lambda name: name != block["line"])
    return {name: [cell for cell in cells if cell.entry == name] for name in names}


def _grouped(cells: Sequence[Cell]) -> dict[tuple[str, float], list[Cell]]:
    """Runs that differ in their seed alone."""
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.entry, cell.share), []).append(cell)
    return groups


def _head(models: Mapping[str, Any]) -> tuple[str, ...]:
    others = (f"eta, {name}" for name in list(models)[1:])
    return (*OF_A_RUN, *others, *OF_ITS_CODE, *OF_ITS_COST)


def _about(block: Block) -> Iterator[str]:
    yield (
        f"Of each remedy the value whose code holds about {block['final_rate']:g} nats: within a "
        "factor of 1.41 the one nearest to the frontier of all, else the nearest rate. LM, eta "
        f"and verdict: against `{block['line']}` of the same seed, on the same items."
    )


def _factors(found: Mapping[str, Figures], what: str) -> list[str]:
    """How many true factors the code of each model carries, where they are known."""
    known = {name: each for name, each in found.items() if "factors" in each}
    if not known:
        return []
    probes = [key for key in next(iter(known.values())) if key.startswith("probe_")]
    names = (key.removeprefix("probe_") for key in probes)
    head = ("model", "R", "carried", "nats", "drawn: carried", "nats", *names)
    rows = [
        (
            name,
            _number(each["kl"], 2),
            f"{_number(each['factors_carried'], 1)} of {each['factors']:g}",
            _number(each["factor_nats"], 2),
            f"{_number(each['factors_carried_drawn'], 1)} of {each['factors']:g}",
            _number(each["factor_nats_drawn"], 2),
            *(_number(each[key], 3) for key in probes),
        )
        for name, each in known.items()
    ]
    order = sorted(rows, key=lambda row: -float(row[3]))
    return [
        f"### True factors that a straight line reads from the code, {what}",
        "",
        "Accuracy of a logistic regression on posterior means; carried: "
        f"accuracy of {CARRIED:g} or more, and at most half the errors of a guess; nats: the "
        "entropy of each factor less the cross-entropy of its probe, all factors together, the "
        "most first; drawn: the same of one draw of each posterior, which is what the decoder is "
        "given and can tell no more than R.",
        "",
        *markdown([head, *order]),
        "",
    ]


def _swept(records: Records, name: str) -> dict[str, Figures]:
    """What the sweep found in a block, by the entry and its value."""
    study = records.study
    cells = [cell for cell in study.sweep() if "/".join(cell.block) == name]
    return {
        f"{cell.entry} {study.entries[cell.entry].called(cell.place)}": figures
        for cell in cells
        if (figures := records.figures(cell, "valid")) is not None
    }


def _matched(records: Records, block: Block) -> Iterator[str]:
    """The sweep: -ELBO at matched rates, less the language model's NLL."""
    nll, rates = block["nll"], block["rates"]
    yield (
        f"Language model `{block['line']}`: {nll:.2f} nats an item on validation. At matched "
        "rates: D + R - NLL, what a code of that many nats costs beside none, from each remedy's "
        "own models, straight between them (— where it has none); the best at "
        f"R = {block['final_rate']:g} first."
    )
    yield from _beside_others(block)
    yield ""
    head = (*MATCHED, *(f"at R = {rate:g}" for rate in rates))
    yield from markdown([head, *(_needed(records, block, one) for one in block["remedies"])])
    if early := [one["entry"] for one in block["remedies"] if one["earlier"]]:
        yield ""
        names = ", ".join(early)
        yield f"Chosen and tested before others joined; another value would be now: {names}."
    if block["without_rate"]:
        yield ""
        yield f"Without a rate, so at no place in it: {', '.join(block['without_rate'])}."


def _beside_others(block: Block) -> Iterator[str]:
    """What the prices would be against the other language models."""
    for model in block["language_models"]:
        if model["entry"] != block["line"]:
            nll, more = model["nll"], block["nll"] - model["nll"]
            yield f"Against `{model['entry']}`, {nll:.2f}, each costs {more:+.2f} besides."


def _needed(records: Records, block: Block, one: Block) -> tuple[str, ...]:
    entry = records.study.entries[one["entry"]]
    spread = [rate for rate, _ in one["points"]]
    return (
        entry.name,
        f"{entry.knob} = {', '.join(map(entry.called, range(len(entry.values))))}",
        f"{min(spread):.1f} to {max(spread):.1f}",
        f"× {one['cost']:.2f}",
        *(
            "—" if d is None else f"{d + rate - block['nll']:+.2f}"
            for rate, d in zip(block["rates"], one["distortions"], strict=True)
        ),
    )


def _row(
    records: Records, block: Block, cell: Cell, beside: Mapping[str, Seeds]
) -> tuple[str, ...]:
    """A winner over its seeds, beside each language model."""
    entry = records.study.entries[cell.entry]
    seeds, *others = beside.values()
    step, seconds = block["lm_step_seconds"], seeds.mean("seconds")
    equal = None if not step or seconds is None else seconds / step
    return (
        entry.name,
        entry.called(cell.place),
        str(len(seeds.figures)),
        *(_number(seeds.mean(key), 2) for key in ("kl", "reconstruction")),
        _interval(seeds.price(), "+.2f"),
        _evidence(seeds),
        _interval(seeds.beyond(), "+.2f"),
        *(_interval(each.repaid(), ".2f") for each in (seeds, *others)),
        _between(seeds, "mutual_information"),
        _number(seeds.mean("active_units"), 1),
        _number(seeds.mean("effective_dimension"), 1),
        _between(seeds, "aggregate_kl"),
        _number(seeds.mean("shuffle_delta_nll"), 2),
        seeds.verdicts(),
        *(_number(seeds.mean(key), 0) for key in ("updates", "encoder_steps")),
        _number(equal, 0),
        _number(seeds.mean("weights"), 0),
    )


def _evidence(seeds: Seeds) -> str:
    """A bound where too few samples count for an estimate; of a language model it is exact."""
    if seeds.mean("latent") is None:
        return _number(seeds.mean("reconstruction"), 2)
    estimate = seeds.mean("iw_nll")
    if estimate is not None:
        return _number(estimate, 2)
    bound = seeds.mean("iw_bound")
    return "—" if bound is None else f"≤ {_number(bound, 2)}"


def _number(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:,.{digits}f}"


def _between(seeds: Seeds, name: str) -> str:
    low, high = seeds.mean(f"{name}_low"), seeds.mean(f"{name}_high")
    return "—" if low is None or high is None else f"{low:.1f} to {high:.1f}"


def _interval(found: tuple[float, float, float] | None, form: str) -> str:
    if found is None:
        return "—"
    value, low, high = (format(number, form) for number in found)
    return f"{value} [{low}, {high}]"


def _failures(records: Records, choices: Mapping[str, Block]) -> Iterator[str]:
    """A line on each cell that could not be."""
    for cell in (*records.study.sweep(), *finals(records.study, dict(choices))):
        failure = records.failure(cell)
        if failure is not None:
            place = records.study.place(cell).relative_to("cells")
            yield f"- `{place}`: {failure['kind']}: {' '.join(failure['reason'].split()):.300}"


def markdown(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as a table, the header first.

    >>> markdown([("a", "b"), ("1", "2")])
    ['| a | b |', '| --- | --- |', '| 1 | 2 |']
    """
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return [f"| {' | '.join(line)} |" for line in lines]
