"""Does a bundle repeat its number? `python bench/deploy.py [BUDGET] [MODEL] [ROUNDS]`

Tunes, exports, then in each round runs the bundle's own ``run.py`` and one launch as the study made them, in turns
order; then `verify`. The bar: run.py and verify within 3 % of the confirmed throughput, the machine's drift cancelled.
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

from common import local_executor, print_conditions, reference

from infertune import tune
from infertune.cli.verify import told
from infertune.core import stats, words
from infertune.core.records import Interval, MeasureJob, Measurement
from infertune.edge.shell import LocalShell
from infertune.export.bundle import Promise, read_bundle
from infertune.study.hand_over import export
from infertune.study.verifying import plan, verify

SHAPES = {"bert-base": {"sequence_length": 128}, "minilm-l6": {"sequence_length": 128}, "resnet50": {}}
SECONDS = "3"


def run_py(folder: Path) -> float:
    """Samples per second that the bundle's own program prints."""
    log = folder.parent / "run.log"
    argv = [sys.executable, "run.py", SECONDS]
    LocalShell().run(argv, timeout_s=120, log=str(log), env=None, cwd=str(folder))
    found = re.search(r"([\d.]+) samples/s", log.read_text())
    assert found is not None, log.read_text()
    return float(found.group(1))


def launch(folder: Path, promise: Promise) -> float:
    job = MeasureJob(
        model=promise.model, point=promise.point, artifact=str(folder.resolve()), plan=plan(), feed=promise.feed
    )
    reply = local_executor().run(promise.point.target, job, timeout_s=120)
    assert isinstance(reply, Measurement), reply
    return stats.throughput(reply)


def rounds(folder: Path, promise: Promise, count: int) -> tuple[list[float], list[float]]:
    programs, launches = [], []
    for i in range(count):
        for which in ("program", "launch") if i % 2 else ("launch", "program"):
            if which == "program":
                programs.append(run_py(folder))
            else:
                launches.append(launch(folder, promise))
    return programs, launches


def line(name: str, found: Interval, confirmed: float) -> None:
    ratio = Interval(value=found.value / confirmed, low=found.low / confirmed, high=found.high / confirmed)
    print(f"{name:22} {words.interval(found):28} {words.times(ratio)} of confirmed")


def main(budget: str, model: str, count: int) -> None:
    print_conditions()
    study = tune(reference(model), shapes=SHAPES[model], budget=budget, out=Path("runs") / f"deploy-{model}-{budget}")
    folder = export(study, Path("runs") / f"deploy-{model}-{budget}-bundle").resolve()
    promise = read_bundle(folder)
    print(f"{model}: {promise.point}\n")
    programs, launches = rounds(folder, promise, count)
    line("confirmed", promise.throughput, promise.throughput.value)
    line("run.py", stats.median_interval(programs), promise.throughput.value)
    line("launches beside it", stats.median_interval(launches), promise.throughput.value)
    beside = stats.ratio_interval(programs, launches)
    print(f"run.py / launch beside it, {count} rounds: {words.times(beside)}")
    spread = (max(launches) - min(launches)) / statistics.median(launches)
    print(f"launches of one setting spread over {spread:.0%}\n")
    print("\n".join(told(verify(folder))))


if __name__ == "__main__":
    given = sys.argv[1:] + ["90s", "minilm-l6", "6"][len(sys.argv) - 1 :]
    main(given[0], given[1], int(given[2]))
