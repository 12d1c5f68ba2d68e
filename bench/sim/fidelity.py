"""How near the card model comes to what was published: every figure, marked as fitted or kept out.

    python bench/sim/fidelity.py [DATA] [--quick]

"kept out" means that no row of the model (a third of the models), or no row of the architecture (one at a time, the
notebooks' rows of that network among them), was seen by the fit. "fitted" rows took part in it. --quick leaves out
whatever needs a new fit.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import calibrate
import numpy as np
import numpy.typing as npt
from calibrate import CAPPED, PRIORS, Data, Fit, Prior, errors, in_fit
from published import Row, choices, resnet50_workload, setting_of, workload_of_row

from infertune.targets.qaic.sim.card import CARDS
from infertune.targets.qaic.sim.compiling import AT_ONCE, AT_ONCE_2025, compile_seconds, crowding
from infertune.targets.qaic.sim.constants import FILE, fitted
from infertune.targets.qaic.sim.model import predict, rates
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.sheet import Array, Point, sheet_of
from infertune.targets.qaic.sim.workload import Workload

Kinds = Sequence[tuple[str, Array]]
Mask = npt.NDArray[np.bool_]
HERE = Path(__file__).parent
FITTED, KEPT_OUT = "fitted", "kept out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``reached`` is None where nothing was asked for."""

    name: str
    kind: str
    value: str
    asked: str = ""
    reached: bool | None = None

    def line(self) -> str:
        mark = {True: "reached", False: "NOT REACHED", None: ""}[self.reached]
        return f"{self.name:66} {self.kind:9} {self.value:>26}  {self.asked:22} {mark}".rstrip()


def figures(data: Data, left_out: Array | None) -> Iterator[Figure]:
    """Of the committed constants, and of ``left_out``: the errors with every row's architecture left out of the fit."""
    shipped = committed()
    in_sample = errors(data, shipped)
    kinds = [(FITTED, in_sample), *([(KEPT_OUT, left_out)] if left_out is not None else [])]
    if any(row.source == "published_nlp" for row in data.rows):
        yield from encoder_errors(data, in_sample, left_out)
        yield from pairs(data, kinds)
    yield from runner(data, kinds)
    yield from notebook_orders(data, shipped)
    yield from resnet(data, kinds)
    yield compile_figure()
    yield from crowded_figures()


def committed() -> Fit:
    return Fit(constants=fitted(), capped=json.loads(FILE.read_text())["conditions"][CAPPED])


def leave_one_architecture_out(data: Data, priors: Mapping[str, Prior] = PRIORS) -> Array:
    bodies = np.array([row.body for row in data.rows])
    result = np.zeros(len(bodies))
    for body in sorted(set(bodies)):
        inside = np.flatnonzero(bodies == body)
        result[inside] = errors(data.take(inside), calibrate.fit(data.where(bodies != body), priors))
    return result


def percent(logs: Array) -> tuple[float, float]:
    error = 100 * np.abs(np.expm1(logs))
    return float(np.median(error)), float(np.percentile(error, 90))


def _spread(name: str, kind: str, logs: Array, asked: str = "", limits: tuple[float, float] | None = None) -> Figure:
    middle, high = percent(logs)
    reached = None if limits is None else middle <= limits[0] and high <= limits[1]
    return Figure(name=name, kind=kind, value=f"{middle:.1f} % / {high:.1f} %", asked=asked, reached=reached)


def encoder_errors(data: Data, in_sample: Array, left_out: Array | None) -> Iterator[Figure]:
    ours = _mask(data, lambda row: row.source == "published_nlp")
    single = _mask(data, lambda row: row.in_flight == 1)
    seen = _mask(data, in_fit)
    name = "encoders, throughput error, median / 90th percentile"
    if left_out is not None:
        yield _spread(f"{name}: one architecture left out", KEPT_OUT, left_out[ours], "5 % / 13 %", (5, 13))
        yield _spread("  of these, several in flight", KEPT_OUT, left_out[ours & ~single])
        yield _spread("  of these, single stream", KEPT_OUT, left_out[ours & single])
    yield _spread("encoders: the third of the models that is kept out", KEPT_OUT, in_sample[ours & ~seen])
    yield _spread("encoders: the two thirds in the fit", FITTED, in_sample[ours & seen])
    yield _spread("for comparison: mean per architecture and kind of row", FITTED, _lookup(data)[ours])


def _lookup(data: Data) -> Array:
    """What a table does: the mean of the other rows of the same network, heads and kind (single stream or not)."""
    keys = [(row.body, row.workload.output_bytes, row.in_flight == 1) for row in data.rows]
    logs = np.log(data.measured)
    result = np.zeros(len(keys))
    for place, key in enumerate(keys):
        others = [logs[i] for i, other in enumerate(keys) if other == key and i != place]
        result[place] = np.mean(others) - logs[place] if others else np.log(2)
    return result


def _mask(data: Data, wanted: Callable[[Row], bool]) -> Mask:
    return np.array([wanted(row) for row in data.rows])


def runner(data: Data, kinds: Kinds) -> Iterator[Figure]:
    for place, row in enumerate(data.rows):
        if row.source != "bert-runner-2023-09":
            continue
        setting = f"{row.cores} cores x {row.instances}, batch {row.batch}, set size {row.set_size}"
        told = predict(row.workload, CARDS[row.sku], setting_of(row)).latency.total_ns / 1e6
        for name, logs in kinds:
            error = logs[place]
            value, off = row.throughput * np.exp(error), 100 * np.expm1(error)
            yield Figure(
                name=f"runner, BERT-base {setting}: {row.throughput:g} inf/s", kind=name,
                value=f"{value:.1f} ({off:+.1f} %)", asked="8 %", reached=bool(abs(off) <= 8),
            )  # fmt: skip
        off = 100 * (told / row.latency_ms - 1)
        yield Figure(
            name=f"  its mean round trip: {row.latency_ms:g} ms", kind=FITTED, value=f"{told:.3f} ms ({off:+.1f} %)",
            asked="8 %", reached=abs(off) <= 8,
        )  # fmt: skip


def agreeing(data: Data, logs: Array, chosen: Mask, key: Callable[[Row], tuple[object, ...]]) -> tuple[int, int]:
    """Pairs of rows that differ in knobs and by more than 5 %: how many the model orders rightly, of how many."""
    right = total = 0
    predicted = np.log(data.measured) + logs
    for i, j in itertools.combinations(np.flatnonzero(chosen), 2):
        first, second = data.rows[i], data.rows[j]
        gap = np.log(data.measured[i] / data.measured[j])
        if key(first) != key(second) or setting_of(first) == setting_of(second) or abs(gap) < np.log(1.05):
            continue
        total += 1
        right += (predicted[i] - predicted[j]) * gap > 0
    return right, total


def same_graph(row: Row) -> tuple[object, ...]:
    return (row.body, row.workload.output_bytes, row.task)


def same_task(row: Row) -> tuple[object, ...]:
    return (row.body, row.task)


def pairs(data: Data, kinds: Kinds) -> Iterator[Figure]:
    ours = _mask(data, lambda row: row.source == "published_nlp")
    single = _mask(data, lambda row: row.in_flight == 1)
    for title, chosen, share in (("several in flight", ours & ~single, 85), ("single stream", ours & single, 70)):
        for words, key in (("same network and task", same_task), ("same graph to the byte", same_graph)):
            for kind, logs in kinds:
                right, total = agreeing(data, logs, chosen, key)
                part = 100 * right / max(total, 1)
                yield Figure(
                    name=f"pairs ordered right, {title}, {words}", kind=kind, value=f"{part:.0f} % of {total}",
                    asked=f"{share} %", reached=part >= share,
                )  # fmt: skip


def notebook_orders(data: Data, fit: Fit) -> Iterator[Figure]:
    for source, words in (
        ("bert-search-2023-09", "five throughput results, 2023-09"),
        ("bert-search-2023-07", "five throughput results, 2023-07"),
        ("bert-latency-2023-09", "latencies over 1, 3, 7, 14 cores"),
    ):
        yield _ordered(data, fit, source, f"notebook, order of the {words}")
    yield best_region(fit)
    right, total = decisions(fit)
    yield Figure(
        name="notebook, neighbours that the vendor's searches turned down", kind=FITTED,
        value=f"{100 * right / total:.0f} % of {total}",
    )  # fmt: skip


def _ordered(data: Data, fit: Fit, source: str, name: str) -> Figure:
    part = data.where(_mask(data, lambda row: row.source == source))
    predicted = part.measured * np.exp(errors(part, fit))
    order = np.argsort(-part.measured)
    inverted = int(np.sum(np.diff(predicted[order]) > 0))
    told = " > ".join(f"{value:.0f}" for value in predicted[order])
    value = "as measured" if not inverted else f"{inverted} neighbours swapped"
    return Figure(name=f"{name} ({told})", kind=FITTED, value=value, asked="as measured", reached=not inverted)


def _bert_rates(settings: Sequence[Setting], fit: Fit) -> Array:
    workload = workload_of_row("bert-base-cased", "question-answering")
    sheet = sheet_of([Point(workload=workload, card=CARDS["pro"], setting=setting) for setting in settings])
    _, loop = rates(sheet, fit.constants)
    result: Array = loop.requests_per_s * sheet.rows["batch"]
    return result


def best_region(fit: Fit) -> Figure:
    """Over the notebook's own space, with the 16 cores that its card really has."""
    settings = [
        Setting(cores=cores, mos=mos, ols=ols, batch=batch, instances=instances)
        for cores in range(1, 15)
        for mos in (1, 2)
        if mos <= cores
        for ols in range(1, 9)
        for batch in (1, 2, 4, 8, 16)
        for instances in range(1, 15)
        if cores * instances <= 16
    ]
    best = settings[int(np.argmax(_bert_rates(settings, fit)))]
    value = f"{best.cores} x {best.instances}, batch {best.batch}, ols {best.ols}, mos {best.mos}"
    reached = best.cores == 2 and best.instances in (7, 8) and best.batch == 8
    return Figure(
        name="notebook, best of BERT-base's space (cores x instances, batch)", kind=FITTED, value=value,
        asked="2 x 7-8, batch 8", reached=reached,
    )  # fmt: skip


def decisions(fit: Fit) -> tuple[int, int]:
    """Points that a search of the notebook tried beside its final one and left: is the final one predicted ahead?"""
    told = _bert_rates([setting for pair in choices() for setting in pair[:2]], fit)
    return int(np.sum(told[0::2] >= told[1::2])), len(told) // 2


def resnet(data: Data, kinds: Kinds) -> Iterator[Figure]:
    names = {
        "resnet-search-2023-08": "ResNet-50 throughput table, 2023",
        "resnet-latency-2023-08": "ResNet-50 latency table, 2023",
        "resnet-search-2025-04": "ResNet-50 throughput table, 2025 (clock capped)",
        "resnet-runner-2025-04": "ResNet-50 runner lines, 2025 (clock capped)",
    }
    for source, name in names.items():
        chosen = np.array([row.source == source for row in data.rows])
        for kind, logs in kinds:
            worst = 100 * float(np.max(np.abs(np.expm1(logs[chosen]))))
            swapped = _swapped(data.measured[chosen], logs[chosen])
            yield Figure(
                name=f"{name}: worst error, pairs out of order", kind=kind, value=f"{worst:.0f} %, {swapped}",
                asked="25 %, in order", reached=worst <= 25 and swapped.startswith("0"),
            )  # fmt: skip


def _swapped(measured: Array, logs: Array) -> str:
    predicted = measured * np.exp(logs)
    couples = list(itertools.combinations(range(len(measured)), 2))
    wrong = sum((measured[i] - measured[j]) * (predicted[i] - predicted[j]) < 0 for i, j in couples)
    return f"{wrong} of {len(couples)}"


def compile_figure() -> Figure:
    workload = workload_of_row("bert-base-cased", "question-answering")
    with (HERE / "compiles.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [
        compile_seconds(
            workload, Setting(cores=int(r["cores"]), mos=int(r["mos"]), ols=int(r["ols"]), batch=int(r["batch"]))
        )
        for r in rows
    ]
    return _spread(
        "compile seconds of BERT-base, single compiles",
        FITTED,
        np.log(told) - np.log([float(r["seconds"]) for r in rows]),
    )


def crowded_figures() -> Iterator[Figure]:
    """Compiles at once, from the logs: the time between two lines less that of the runs (BERT-base), published medians
    and the one compile of a log that ran alone (ResNet-50)."""
    workloads = {"bert-base-cased": workload_of_row("bert-base-cased", "question-answering")}
    workloads["resnet50"] = resnet50_workload()
    at_once = {"bert-base-cased": AT_ONCE, "resnet50": AT_ONCE_2025}
    with (HERE / "compile_batches.csv").open() as file:
        rows = list(csv.DictReader(file))
    for model, workload in workloads.items():
        ours = [row for row in rows if row["model"] == model]
        told = [_batch_seconds(workload, row["compiles"].split(), at_once[model]) for row in ours]
        measured = [float(row["seconds"]) for row in ours]
        yield _spread(f"compile seconds of {model}, {len(ours)} batches", FITTED, np.log(told) - np.log(measured))


def _batch_seconds(workload: Workload, compiles: Sequence[str], at_once: float) -> float:
    """From a common start to the last end: the longest, or all of them as far as they slow each other."""
    alone = []
    for text in compiles:
        cores, mos, ols, batch = map(int, text.split("/"))
        alone.append(compile_seconds(workload, Setting(cores=cores, mos=mos, ols=ols, batch=batch)))
    return max(*alone, float(np.mean(alone)) * crowding(len(alone) - 1, at_once))


def main(arguments: Sequence[str]) -> None:
    folder = next((a for a in arguments if not a.startswith("-")), None)
    data = calibrate.load(Path(folder) if folder else HERE.parents[2] / "shared" / "data")
    for figure in figures(data, None if "--quick" in arguments else leave_one_architecture_out(data)):
        print(figure.line())


if __name__ == "__main__":
    main(sys.argv[1:])
