"""Cloud AI 100: the compiled program, the exact commands, and Triton settings for the vendor's `qaic` back end."""

from __future__ import annotations

from pathlib import Path

from infertune.edge.files import write_text
from infertune.export.bundle import Bundle, copy_bundle
from infertune.export.pbtxt import Served, model_config

title = "compiled program, exact compile and run commands, Triton settings for a Cloud AI 100 card"
targets = frozenset({"qaic"})


def write(bundle: Bundle, into: Path) -> str:
    """Parameters are those that docs.qualcomm.com gives for `backend: "qaic"`."""
    copy_bundle(bundle, into)
    point = bundle.promise.point
    folder = into / "model_repository" / bundle.served_name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    parameters = {
        "qpc_path": f"/models/{bundle.served_name}/1",
        "device_id": str(bundle.promise.device.name).removeprefix("qid"),
        "set_size": str(point.number("set_size", 1)),
        "no_of_activations": str(point.number("instances", 1)),
    }
    served = Served(
        backend="qaic",
        file=Path(bundle.main_file).name,
        instances=1,
        kind="KIND_MODEL",
        parameters=tuple(parameters.items()),
    )
    write_text(folder / "config.pbtxt", model_config(bundle, served))
    simulated = (
        "\nThe card was simulated: these files do not run on a real one.\n" if bundle.promise.device.simulated else ""
    )
    return f"""    ./compile.sh             # with the ONNX file beside it: compiles ./program as here
    ./run.sh                 # the vendor's runner with the tuned instances and set size
    python run.py            # the same, and the number beside the promised one
    cp program/* model_repository/{bundle.served_name}/1/       # then Triton with the `qaic` back end serves it

`infertune verify .` measures the promise again and exits with 1 when it is not kept.
{simulated}"""
