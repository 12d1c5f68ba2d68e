"""The published measurements as points of the simulated card: the encoder table, the notebooks, and who is kept out.

Architectures are those of the models' published configurations (config.json of each model, and the papers of BERT,
ALBERT, ELECTRA, DistilBERT, MiniLM, DeBERTa).
"""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from infertune.targets.qaic.sim.card import CARDS
from infertune.targets.qaic.sim.encoders import EncoderShape, Head, encoder_workload
from infertune.targets.qaic.sim.setting import Setting
from infertune.targets.qaic.sim.sheet import Point
from infertune.targets.qaic.sim.workload import Op, Workload, blocked, convolution, dense, merged, staged, vector

BASE = EncoderShape(layers=12, hidden=768, heads=12, intermediate=3072)
LARGE = EncoderShape(layers=24, hidden=1024, heads=16, intermediate=4096)
DISTIL = replace(BASE, layers=6)
MINI_12 = EncoderShape(layers=12, hidden=384, heads=12, intermediate=1536)
MINI_6 = replace(MINI_12, layers=6)

BODIES: dict[str, EncoderShape] = {
    "base": BASE,
    "large": LARGE,
    "distilbert": replace(DISTIL, mask="filled"),
    "distilroberta": DISTIL,
    "minilm-12": MINI_12,
    "minilm-6": MINI_6,
    "albert-base": replace(BASE, embedding=128),
    "albert-tiny": EncoderShape(layers=4, hidden=312, heads=12, intermediate=1248, embedding=128),
    "albert-xlarge": EncoderShape(layers=24, hidden=2048, heads=16, intermediate=8192, embedding=128),
    "electra-small": EncoderShape(layers=12, hidden=256, heads=4, intermediate=1024, embedding=128),
    "bert-tiny": EncoderShape(layers=2, hidden=128, heads=2, intermediate=512),
    "bert-mini": EncoderShape(layers=4, hidden=256, heads=4, intermediate=1024),
    "prot-bert": EncoderShape(layers=30, hidden=1024, heads=16, intermediate=4096, vocabulary=30),
    "deberta-base": replace(BASE, relative_spans=512),
    "deberta-small": replace(DISTIL, relative_spans=512),
}

NAMED_BODIES = (  # first match of a part of the model's name
    ("albert-xlarge", "albert-xlarge"), ("albert-tiny", "albert-tiny"), ("albert", "albert-base"),
    ("MiniLM-L12", "minilm-12"), ("MiniLM-L-12", "minilm-12"), ("MiniLM-L6", "minilm-6"),
    ("electra-small", "electra-small"), ("L-2_H-128", "bert-tiny"), ("bert-tiny", "bert-tiny"),
    ("bert-mini", "bert-mini"),
    ("prot_bert", "prot-bert"), ("deberta-v3-base", "deberta-base"), ("deberta-v3-small", "deberta-small"),
    ("distilroberta", "distilroberta"), ("distil", "distilbert"), ("large", "large"),
)  # fmt: skip

VOCABULARIES = (  # first match of a part of the model's name; only masked-word heads depend on it
    ("kcbert", 30000), ("bert-base-chinese", 21128), ("bert-base-german", 30000), ("multilingual-cased", 119547),
    ("multilingual-uncased", 105879), ("bert-base-cased", 28996), ("camembert", 32005), ("albert-tiny-chinese", 21128),
    ("japanese-char", 4000), ("japanese", 32000), ("italian-xxl", 31102), ("distilbert-base-german", 31102),
    ("distilroberta", 50265), ("Bio_ClinicalBERT", 28996), ("hfl/chinese", 21128), ("klue", 32000), ("danish", 32000),
    ("deberta-v3", 128100), ("roberta", 50265),
)  # fmt: skip

HEADS: dict[str, Head] = {
    "question-answering": "answer",
    "text-classification": "classes",
    "token-classification": "tokens",
    "fill-mask": "vocabulary",
    "feature-extraction": "none",
    "default": "none",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published measurement. ``latency_ms`` is per request of ``batch`` samples; 0 where not given."""

    source: str
    model: str
    body: str
    workload: Workload
    sku: str
    cores: int
    mos: int
    ols: int
    batch: int
    instances: int
    set_size: int
    multicast: bool
    throughput: float
    latency_ms: float = 0.0
    task: str = ""
    host: str = "128-core"

    @property
    def in_flight(self) -> int:
        return self.instances * self.set_size


def first_match(table: tuple[tuple[str, object], ...], name: str, otherwise: object) -> object:
    return next((value for part, value in table if part in name), otherwise)


def body_of(model: str) -> str:
    return str(first_match(NAMED_BODIES, model, "base"))


def workload_of_row(model: str, task: str) -> Workload:
    vocabulary = first_match(VOCABULARIES, model, 30522)
    assert isinstance(vocabulary, int)
    shape = replace(BODIES[body_of(model)], vocabulary=vocabulary, head=HEADS[task])
    return encoder_workload(f"{model} {task}", shape)


def kept_out(model: str) -> bool:
    """A third of the models, drawn by the digest of their names: no row of them is seen by the fit."""
    return int(hashlib.sha256(model.encode()).hexdigest(), 16) % 3 == 0


def published_nlp(data: Path) -> list[Row]:
    """The encoder table, which is not part of this repository; empty where it is not at hand."""
    path = data / "cloud-ai-100" / "published_nlp.csv"
    if not path.is_file():
        print(f"{path} is not there: only the notebooks' rows are used", file=sys.stderr)
        return []
    with path.open() as file:
        return [encoder_row(row) for row in csv.DictReader(file)]


def encoder_row(row: dict[str, str]) -> Row:
    cores = int(row["cores"])
    mos = max((int(part) for part in row["mos"].split(",") if part), default=cores)
    return Row(
        source="published_nlp",
        model=row["model"],
        body=body_of(row["model"]),
        workload=workload_of_row(row["model"], row["task"]),
        sku="standard",
        cores=cores,
        mos=min(mos, cores),
        ols=int(row["ols"]),
        batch=int(row["batch"]),
        instances=int(row["instances"]),
        set_size=int(row["set_size"]),
        multicast="multicast" in row["extra_flags"],
        throughput=float(row["inf_per_s"]),
        latency_ms=float(row["latency_ms"]),
        task=row["task"],
    )


def resnet50_workload() -> Workload:
    """ResNet-50 "v1.5" at 224 x 224 with batch normalisation folded, each rectifier and sum an operator of its own."""
    stem = convolution((112, 112), 3, 64, 49, in_positions=224 * 224)
    first = 2 * blocked((64, 112, 112))
    ops = [replace(stem, live_bytes=first + 2 * 3 * 224 * 224)]
    ops.append(vector("elementwise", first // 2, live_bytes=first))
    ops.append(vector("pool", 9 * blocked((64, 56, 56)), live_bytes=first * 5 // 4))
    wide = 64
    for narrow, blocks, size in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            before = size * 2 if block == 0 and narrow > 64 else size
            ops += _bottleneck(wide, narrow, before, size)
            wide = 4 * narrow
    ops += [vector("pool", blocked((2048, 7, 7))), dense(1, 2048, 1000)]
    return Workload(name="resnet50", ops=merged(staged(ops)), input_bytes=4 * 3 * 224 * 224, output_bytes=4000)


def _bottleneck(wide: int, narrow: int, before: int, size: int) -> list[Op]:
    given, early = blocked((wide, before, before)), blocked((narrow, before, before))
    squeezed, made = blocked((narrow, size, size)), blocked((4 * narrow, size, size))
    joined = [] if wide == 4 * narrow else [convolution((size, size), wide, 4 * narrow, 1, in_positions=before**2)]
    return [
        replace(convolution((before, before), wide, narrow, 1), live_bytes=2 * (given + early)),
        vector("elementwise", early, live_bytes=2 * (given + early)),
        replace(
            convolution((size, size), narrow, narrow, 9, in_positions=before**2),
            live_bytes=2 * (given + squeezed + early),
        ),
        vector("elementwise", squeezed, live_bytes=2 * (given + squeezed)),
        replace(convolution((size, size), narrow, 4 * narrow, 1), live_bytes=2 * (given + squeezed + made)),
        *(replace(op, live_bytes=2 * (given + 2 * made)) for op in joined),
        vector("elementwise", 2 * made, live_bytes=4 * made),
    ]


def notebook() -> list[Row]:
    """The rows of ``notebook.csv``: tables of the two performance-tuning notebooks, all with multicast weights."""
    with (Path(__file__).parent / "notebook.csv").open() as file:
        return [notebook_row(row) for row in csv.DictReader(file)]


def notebook_row(row: dict[str, str]) -> Row:
    in_flight = int(row["instances"]) * int(row["set_size"]) * int(row["batch"])
    latency = float(row["latency_ms"] or 0)
    return Row(
        source=row["table"],
        model=row["model"],
        body="resnet50" if row["model"] == "resnet50" else body_of(row["model"]),
        workload=resnet50_workload()
        if row["model"] == "resnet50"
        else workload_of_row(row["model"], "question-answering"),
        sku=row["sku"],
        cores=int(row["cores"]),
        mos=int(row["mos"]),
        ols=int(row["ols"]),
        batch=int(row["batch"]),
        instances=int(row["instances"]),
        set_size=int(row["set_size"]),
        multicast=True,
        throughput=float(row["inf_per_s"] or 1e3 * in_flight / latency),
        latency_ms=latency,
        host=row["host"],
    )


def setting_of(row: Row) -> Setting:
    return Setting(
        cores=row.cores,
        mos=row.mos,
        ols=row.ols,
        batch=row.batch,
        instances=row.instances,
        set_size=row.set_size,
        multicast=row.multicast,
    )


def points(rows: list[Row]) -> list[Point]:
    return [Point(workload=row.workload, card=CARDS[row.sku], setting=setting_of(row)) for row in rows]


def choices() -> list[tuple[Setting, Setting, float]]:
    """From ``decisions.csv``: the setting a search of the BERT notebook ended at, one that it tried and left, and how
    exactly the two were compared: 5 s runs while searching, better where both are results of the final table."""
    with (Path(__file__).parent / "decisions.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [
        (_setting(line["winner"], line["set_size"]), _setting(rival, line["set_size"]), float(line["noise"]))
        for line in lines
        for rival in line["rivals"].split()
    ]


def _setting(text: str, set_size: str) -> Setting:
    cores, mos, ols, batch, instances = (int(part) for part in text.split("/"))
    return Setting(cores=cores, mos=mos, ols=ols, batch=batch, instances=instances, set_size=int(set_size))


def choice_points() -> list[Point]:
    """Winner, rival, winner, rival, ..."""
    workload = workload_of_row("bert-base-cased", "question-answering")
    return [Point(workload=workload, card=CARDS["pro"], setting=setting) for pair in choices() for setting in pair[:2]]
