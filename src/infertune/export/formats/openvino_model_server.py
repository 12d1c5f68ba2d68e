"""OpenVINO Model Server: ``config.json`` and a model repository beside it."""

from __future__ import annotations

from pathlib import Path

from infertune.edge.files import write_text
from infertune.export.bundle import Bundle, as_json, copy_model

title = "config.json and model repository of OpenVINO Model Server"
targets = frozenset({"openvino"})


def _spelled(value: object) -> str:
    """Plugin settings are text; OpenVINO takes YES and NO for its switches."""
    return {True: "YES", False: "NO"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def write(bundle: Bundle, into: Path) -> str:
    version = into / bundle.served_name / "1"
    version.mkdir(parents=True, exist_ok=True)
    copy_model(bundle, version)
    config = {
        "name": bundle.served_name,
        "base_path": bundle.served_name,
        "target_device": "CPU",
        "shape": {i["name"]: f"({', '.join(map(str, i['shape']))})" for i in bundle.config["inputs"]},
        "nireq": bundle.config["in_flight"],
        "plugin_config": {key: _spelled(value) for key, value in bundle.config["properties"].items()},
    }
    write_text(into / "config.json", as_json({"model_config_list": [{"config": config}]}))
    in_flight = bundle.config["in_flight"]
    return f"""    docker run --rm -v "$PWD:/models:ro" -p 9000:9000 openvino/model_server \\
        --config_path /models/config.json --port 9000

Take the image whose OpenVINO is {bundle.version}. Requests must hold exactly {bundle.config["batch"]} sample(s); keep
{in_flight} of them in flight to see the confirmed throughput, which does not include the network.
"""
