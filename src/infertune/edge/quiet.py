"""What keeps the libraries underneath from sending telemetry; `docs/privacy.md` says what each of them would do.

Both hooks must be in place before the library is imported: onnxruntime and openvino act on import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

TELEMETRY_OFF: Mapping[str, str] = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: no device id, no event store, no upload thread
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}

QUIET_ENVIRONMENT: Mapping[str, str] = {
    **TELEMETRY_OFF,
    "CI": "true",  # openvino_telemetry takes this for a CI job and stays silent; it knows no variable of its own
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "",
}
"""For the environment of every worker process."""


def hush() -> None:
    """The same for the process that calls it, where ``CI`` would change what other libraries do.

    A module entry of None makes ``import openvino_telemetry`` fail, and openvino then takes its own silent stub.
    """
    os.environ.update(TELEMETRY_OFF)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # the documented way to forbid an import
