"""The end of a command that worked on a study: files written, answer shown, exit code chosen."""

from __future__ import annotations

from pathlib import Path

from infertune.study import Study

NOTHING_FEASIBLE = 69
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
    """Write the files, print the answer, return the exit code."""
    import typer

    from infertune.report import plain_text, result_text

    files = write_files(study)
    typer.echo(result_text(study.entries, files) if as_json else plain_text(study.entries, files), nl=False)
    if interrupted:
        return interrupted
    return NOTHING_FEASIBLE if study.answer.winner is None else 0
