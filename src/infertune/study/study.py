"""A study on disk, read only: its trials, its best point, its answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infertune.core.answer import answer
from infertune.core.findings import Answer
from infertune.core.history import trials
from infertune.core.records import Entry, Trial
from infertune.store.sqlite import read_entries

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The question, the append-only record and what follows from it."""

    folder: Path
    entries: tuple[Entry, ...]

    @staticmethod
    def open(folder: str | Path) -> Study:
        """Raises `NotFoundError` or `DataError` when there is no readable record."""
        return Study(folder=Path(folder), entries=tuple(read_entries(Path(folder))))

    @property
    def answer(self) -> Answer:
        """Winner, confirmed figures, baselines, caveats."""
        return answer(self.entries)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return trials(self.entries)

    @property
    def best(self) -> Trial:
        """The recommended point's trial. Raises `LookupError` when nothing met the goal."""
        winner = self.answer.winner
        found = next((t for t in self.trials if t.point == winner), None)
        if found is None:
            raise LookupError("no point met the goal")
        return found

    def export(self, into: str | Path, *, level: str | None = None) -> Path:
        """Write the bundle that deploys the winner into the folder ``into``. Raises what `hand_over.export` raises.

        ``level`` (``p99 < 5 ms``) takes what is best at that level of a front instead.
        """
        from infertune.study.hand_over import export

        return export(self, into, level=level)

    def frame(self) -> pandas.DataFrame:
        """One row per trial; needs pandas."""
        from infertune.report.frame import frame

        return frame(self.entries)

    def result(self) -> dict[str, Any]:
        """The JSON document of `infertune tune --json` (docs/json.md)."""
        from infertune.report.result import result

        return result(self.entries)
