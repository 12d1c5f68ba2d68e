"""The end of a command that worked on a study: files written, answer shown, exit code chosen."""

from __future__ import annotations

from pathlib import Path

from infertune.core.errors import NothingFeasible, excerpt
from infertune.core.findings import Answer
from infertune.study import Study

REASON = 160
"""Characters of each reason in a hint; the report holds all of it."""

_FILES = {"result": "result.json", "report": "report.txt", "markdown": "report.md", "trials": "trials.csv"}


def write_files(study: Study) -> dict[str, str]:
    """Write every report into the run folder; name -> path."""
    from infertune.edge.files import write_text
    from infertune.report import csv_text, markdown_text, plain_text, result_text

    files = {"record": str(study.folder / "study.db")}
    files |= {name: str(study.folder / file) for name, file in _FILES.items()}
    texts = {
        "result": result_text(study.entries, files),
        "report": plain_text(study.entries, files),
        "markdown": markdown_text(study.entries),
        "trials": csv_text(study.entries),
    }
    for name, text in texts.items():
        write_text(Path(files[name]), text)
    return files


def finish(study: Study, *, as_json: bool, interrupted: int) -> int:
    """Write the files, print the answer, return the exit code. Raises `NothingFeasible` for a study without winner."""
    import typer

    from infertune.cli.output import widths
    from infertune.report import plain_text, result_text

    files = write_files(study)
    shown = result_text(study.entries, files) if as_json else plain_text(study.entries, files, widths=widths())
    typer.echo(shown, nl=False)
    if study.answer.winner is None and not interrupted:
        raise _no_winner(study)
    return interrupted


def _no_winner(study: Study) -> NothingFeasible:
    from infertune.core.shortfall import UNCHECKED
    from infertune.core.words import counted

    found = study.answer
    tried = counted(found.counts.trials, "point")
    if found.nearest is None:
        reasons = "; ".join(f"{f.kind} at {f.stage}: {excerpt(f.message, REASON)}" for f in found.failures[:2])
        hint = f"reasons: {reasons}{_mended(found)}" if reasons else "give it a larger --budget"
        return NothingFeasible("nothing-ran", f"none of {tried} gave a figure", hint=hint)
    closest = found.nearest
    wrong = next((f.message for f in found.failures if f.kind == "output"), "")
    if wrong and closest.limit.startswith("fidelity"):
        outputs = "outputs that cannot be checked" if closest.measured == UNCHECKED else "wrong outputs"
        hint = f"the closest gives {outputs}: {excerpt(wrong, REASON)}"
        return NothingFeasible("nothing-feasible", f"none of {tried} met `{found.question.goal}`", hint=hint)
    relaxed = closest.relaxed
    instead = "relax it"
    if relaxed is not None:
        instead = f"with {' and '.join(f'`{to}`' for _, to in relaxed.limits)} it would give {relaxed.figure}"
    return NothingFeasible(
        "nothing-feasible",
        f"none of {tried} met `{found.question.goal}`",
        hint=f"the closest misses `{closest.limit}` with {closest.measured}; {instead}{_longer(found)}",
    )


def _longer(found: Answer) -> str:
    """What would let the search go on from where it ended."""
    from infertune.core.history import TIME_SPENT, TRIALS_SPENT

    ended = found.searched.ended if found.searched else ""
    if TIME_SPENT in ended:
        return ", or give a larger --budget"
    if TRIALS_SPENT in ended:
        return ", or give more --trials"
    return f" (more time finds no more: {ended})" if ended else ""


def _mended(found: Answer) -> str:
    """What may help where nothing ran: values and sizes do not against hanging or output that cannot be read."""
    kinds = {failure.kind for failure in found.failures}
    if kinds <= {"timeout", "output"}:
        return "; give it a larger --budget" if "timeout" in kinds else ""
    if found.question.feed.path is not None:
        return "; the values or sizes of these inputs may be beyond what the model takes"
    sizes = ", certain sizes with --shape" if found.model.shapes else ""
    return f"; where the model needs certain values, give them with --inputs DATA.npz{sizes}"


def nothing_ran(study: Study) -> NothingFeasible | None:
    """The error of a study in which every trial failed; None when at least one gave a figure."""
    from infertune.core.history import failure

    trials = study.trials
    return _no_winner(study) if trials and all(failure(trial) for trial in trials) else None
