"""Real outputs of a simulated program: the model it was compiled from, computed by ONNX Runtime in float16."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from infertune.core.errors import quoted
from infertune.core.records import TensorSpec
from infertune.targets.qaic.sim.programs.container import Program
from infertune.targets.qaic.sim.programs.networks import MODEL_FILE
from infertune.targets.qaic.sim.programs.tree import Tree
from infertune.targets.qaic.sim.programs.world import Stop

if TYPE_CHECKING:
    import onnxruntime as ort

HALF_FILE = "half.onnx"
LARGEST_INLINE = 1_500_000_000
Arrays = Mapping[str, npt.NDArray[np.generic]]


def compute(tree: Tree, program: Program, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Named outputs of one request. Raises `Stop` where ONNX Runtime cannot compute them."""
    path = _half_model(tree, program)
    try:
        session = _session(path, program.symbols)
        names = [output.name for output in session.get_outputs()]
        steps = [session.run(None, step) for step in _steps(session, inputs)]
        return {name: _joined([step[place] for step in steps]) for place, name in enumerate(names)}
    except Exception as error:  # noqa: BLE001 - errors of ONNX Runtime have no class in common
        raise Stop(f"Error: Failed to compute outputs: {quoted(str(error), 300)}") from None


def _steps(session: ort.InferenceSession, inputs: Arrays) -> list[Arrays]:
    """The inputs in pieces of the model's own batch, where the program was compiled for a multiple of it."""
    own = {port.name: port.shape[0] for port in session.get_inputs() if port.shape and isinstance(port.shape[0], int)}
    longer = {name: array for name, array in inputs.items() if name in own and len(array) != own[name]}
    for name, array in longer.items():
        if not len(array) or len(array) % own[name]:
            raise ValueError(f"the model takes {own[name]} samples of {name} at a time, which do not make {len(array)}")
    count = max((len(array) // own[name] for name, array in longer.items()), default=1)
    pieces = {name: np.split(array, count) for name, array in longer.items()}
    return [{**inputs, **{name: cut[step] for name, cut in pieces.items()}} for step in range(count)]


def _joined(parts: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    return parts[0] if len(parts) == 1 else np.concatenate([np.atleast_1d(part) for part in parts])


@lru_cache(maxsize=1)
def _session(path: Path, symbols: tuple[tuple[str, int], ...]) -> ort.InferenceSession:
    """Kept for the next request of the same program, where one process runs many (`sim.shell`).

    Four requests of BERT-base then take 4.2 s instead of 8.4 s (interleaved, one thread).
    """
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    for symbol, value in symbols:
        options.add_free_dimension_override_by_name(symbol, value)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _half_model(tree: Tree, program: Program) -> Path:
    """The model in float16, made the first time that outputs are asked for."""
    import onnx

    from infertune.prepare.graphs import inlined
    from infertune.targets.qaic.sim.programs.half import in_half_precision

    folder = tree.state / "models" / program.model
    made = folder / HALF_FILE
    if made.is_file():
        return made
    if not (folder / MODEL_FILE).is_file():
        raise Stop("Error: Failed to load network: it was compiled in another simulated SDK")
    model = in_half_precision(inlined(onnx.load(folder / MODEL_FILE)))
    temporary = folder / f".{HALF_FILE}.{secrets.token_hex(6)}"
    if model.ByteSize() > LARGEST_INLINE:
        onnx.save(model, temporary, save_as_external_data=True, location=f"{HALF_FILE}.data")
    else:
        onnx.save(model, temporary)
    temporary.replace(made)
    return made


def given_inputs(program: Program, files: Sequence[str]) -> Arrays:
    """Raw files as arrays, one per input in the program's order. Raises `Stop` for a wrong number or size."""
    if len(files) != len(program.inputs):
        raise Stop(f"Error: {len(files)} input files given, the network has {len(program.inputs)} inputs")
    return {spec.name: _raw(spec, path) for spec, path in zip(program.inputs, files, strict=True)}


def _raw(spec: TensorSpec, path: str) -> npt.NDArray[np.generic]:
    shape = [int(d) for d in spec.dims]
    wanted = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
    try:
        size = os.path.getsize(path)
    except OSError:
        raise Stop(f"Error: Failed to open input file {path}") from None
    if size != wanted:
        raise Stop(f"Error: input file {path} has {size} bytes, buffer '{spec.name}' needs {wanted}")
    return np.fromfile(path, dtype=spec.dtype).reshape(shape)


def random_inputs(program: Program, rng: np.random.Generator) -> Arrays:
    """What the runner feeds when it is given nothing: small whole numbers and unit normals, always the same."""
    made: dict[str, npt.NDArray[np.generic]] = {}
    for spec in program.inputs:
        shape = [int(d) for d in spec.dims]
        wide = np.dtype(spec.dtype).kind == "f"
        made[spec.name] = (rng.standard_normal(shape) if wide else rng.integers(0, 2, shape)).astype(spec.dtype)
    return made


def write_outputs(folder: str, outputs: Arrays, activation: int, number: int) -> None:
    """One raw file per output; characters that a file name cannot hold become ``_``."""
    for name, array in outputs.items():
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
        np.ascontiguousarray(array).tofile(os.path.join(folder, f"{safe}-activation-{activation}-inf-{number}.bin"))


def spoiled(outputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """What a broken card sends back: the right shapes, the wrong values."""
    return {name: np.negative(np.roll(a, 1).astype(np.float64)).astype(a.dtype) for name, a in outputs.items()}
