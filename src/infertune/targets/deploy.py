"""What every target's bundle shares: model files, ``run.py`` and ``inputs.py``, the start of ``config.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from infertune.core.records import ExportJob, Saved
from infertune.prepare.inputs import described
from infertune.prepare.samples import batch_axis

FORMAT = "infertune-bundle/1"
TEMPLATE = "run_template.py"
INPUTS_TEMPLATE = "inputs_template.py"
_IMPORT = "from infertune.targets import inputs_template as inputs"


def write_files(job: ExportJob, package: str, main_file: str, settings: Mapping[str, object]) -> Saved:
    """Copy the artifact and the target's template, and write ``config.json`` with the settings it reads.

    ``package`` is the target's ``__file__``. The first of ``files`` is what the runtime loads.
    """
    into, artifact = Path(job.into), Path(job.artifact)
    names = sorted((p.name for p in artifact.iterdir() if p.is_file()), key=lambda n: (n != main_file, n))
    for name in names:
        shutil.copyfile(artifact / name, into / name)
    write_programs(package, into)
    batch = job.point.number("batch", 1)
    inputs = [
        {
            "name": s.name,
            "dtype": s.dtype,
            "shape": list(job.model.dims(s, batch)),
            "draw": described(s, job.model, batch),
            "batch_axis": batch_axis(s, job.model),
        }
        for s in job.model.inputs
    ]
    config = {"format": FORMAT, "runtime": job.point.target, "files": names, "batch": batch, "inputs": inputs}
    text = json.dumps({**config, **settings}, indent=2)
    (into / "config.json").write_text(text + "\n")
    return Saved(files=("config.json", "run.py", "inputs.py", *names))


def write_programs(package: str, into: Path) -> None:
    """``run.py`` from the template beside ``package``, and the ``inputs.py`` that it imports."""
    template = Path(package).with_name(TEMPLATE).read_text()
    (into / "run.py").write_text(template.replace(_IMPORT, "import inputs"))
    shutil.copyfile(Path(__file__).with_name(INPUTS_TEMPLATE), into / "inputs.py")
