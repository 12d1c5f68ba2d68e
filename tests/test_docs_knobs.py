"""The knobs page is made from the code, and the example target in the docs really works."""

from __future__ import annotations

import re
import runpy
import types
from pathlib import Path

from infertune.core.goal import parse_goal
from infertune.core.records import BuildJob, Feed, MeasureJob
from infertune.core.stats import throughput
from infertune.edge.clock import MonotonicClock
from infertune.edge.shell import LocalShell
from infertune.testing.records import a_model
from infertune.testing.targets import QUICK, check_space

DOCS = Path(__file__).parent.parent / "docs"


def test_the_knobs_page_is_current() -> None:
    made = runpy.run_path(str(DOCS / "generate_knobs.py"))
    assert (DOCS / "knobs.md").read_text() == made["page"](), "run `python docs/generate_knobs.py`"


def documented_target() -> types.ModuleType:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "add-a-target.md").read_text(), flags=re.DOTALL)
    module = types.ModuleType("documented_target")
    exec(compile(code, "add-a-target.md", "exec"), module.__dict__)
    return module


def test_the_documented_target_measures(tmp_path: Path) -> None:
    target = documented_target()
    (device,) = target.probe(LocalShell())
    space = target.space(a_model(), device, parse_goal("max throughput"))
    check_space(space)
    point = space.point(batch=8)
    target.build(BuildJob(model=a_model(), point=point, into=str(tmp_path)), LocalShell())
    job = MeasureJob(model=a_model(), point=point, artifact=str(tmp_path), plan=QUICK, feed=Feed(seed=0))
    found = target.measure(job, MonotonicClock(), LocalShell())
    assert found.batch == 8 and throughput(found) > 0
    assert found.settings == (("rows", "8"),)
