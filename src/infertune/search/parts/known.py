"""What the trials so far tell about the points that could come next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from infertune.core.goal import Goal
from infertune.search.parts import seconds
from infertune.search.parts.arrays import Floats, Whole
from infertune.search.parts.catalogue import Catalogue
from infertune.search.parts.evidence import Evidence
from infertune.search.parts.feasible import chance
from infertune.search.parts.features import Inputs, encode_points
from infertune.search.parts.figures import Figure, figures
from infertune.search.parts.outlook import Outlook, Outlooks
from infertune.search.parts.seconds import Price
from infertune.search.parts.surrogate import Data, Fitted, believe, learn, presume


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The trials of some spaces, and one model per figure of the goal, the score first.

    ``others``: models with other hyperparameters, which are likely, too.
    """

    evidence: tuple[Evidence, ...]
    inputs: Inputs
    figures: tuple[Figure, ...]
    models: tuple[Fitted, ...]
    others: tuple[tuple[Fitted, ...], ...] = ()

    def best(self) -> float | None:
        """The best score that the model believes of a tried point within all limits; None without such a point.

        Believed rather than measured, as the highest of many noisy launches is usually a lucky one.
        """
        leader = self.leader()
        return None if leader is None else float(self._scores()[leader])

    def leader(self) -> int | None:
        """The number of that trial."""
        rows = np.flatnonzero([trial.feasible for trial in self.evidence])
        return int(rows[np.argmax(self._scores()[rows])]) if len(rows) else None

    def _scores(self) -> Floats:
        """What the model believes of every trial's score."""
        return self.figures[0].told(believe(self.models[0], self.inputs).mean, self.inputs.depth)

    def outlook(self, inputs: Inputs) -> Outlook:
        """What to expect at ``inputs``."""
        over = np.flatnonzero([trial.success is not None for trial in self.evidence])
        success = np.asarray([self.evidence[row].success or 0.0 for row in over])
        beliefs = tuple(believe(model, inputs) for model in self.models)
        return Outlook(inputs, self.figures, beliefs, chance(self.inputs[over], success, inputs))

    def outlooks(self, inputs: Inputs) -> Outlooks:
        """The same by these models and by all the others."""
        first = self.outlook(inputs)
        beliefs = (tuple(believe(model, inputs) for model in models) for models in self.others)
        bests = (replace(self, models=models).best() for models in self.all_models())
        return Outlooks((first, *(replace(first, beliefs=of) for of in beliefs)), tuple(bests))

    def all_models(self) -> tuple[tuple[Fitted, ...], ...]:
        """The likeliest, then the others."""
        return self.models, *self.others

    def price(self, everything: Catalogue, places: Whole, inputs: Inputs) -> Price:
        """What trying each of ``places``, whose inputs these are, would cost."""
        artifacts = everything.artifacts()
        built = everything.places([trial.point for trial in self.evidence if trial.failure is None])
        return Price(
            launch=seconds.expected(self.inputs, [trial.launch_s for trial in self.evidence], inputs),
            build=seconds.expected(self.inputs, [trial.build_s for trial in self.evidence], inputs),
            artifacts=artifacts[places],
            built=frozenset(artifacts[built].tolist()),
        )


def known(everything: Catalogue, evidence: tuple[Evidence, ...], goal: Goal, draws: int = 0) -> Known:
    """``draws``: how many models with other hyperparameters to learn, too."""
    inputs = encode_points(everything, [trial.point for trial in evidence])
    asked = figures(goal)
    models, *others = zip(*(_models(evidence, inputs, i, asked, draws) for i in range(len(asked))), strict=True)
    return Known(evidence, inputs, asked, models, tuple(others))


def _models(
    evidence: tuple[Evidence, ...], inputs: Inputs, number: int, asked: tuple[Figure, ...], draws: int
) -> tuple[Fitted, ...]:
    """Figure ``number`` learned from the trials that gave it; of those still under way, what is expected of them."""
    rows = np.flatnonzero([trial.figures is not None for trial in evidence])
    told = inputs[rows]
    table = np.asarray([trial.figures for trial in evidence if trial.figures is not None], dtype=np.float64)
    table = table.reshape(len(rows), len(asked))
    weights = np.asarray([evidence[row].weight for row in rows], dtype=np.float64)
    y = asked[number].learned(table[:, number], told.depth)
    if asked[number].rides:
        y = y - asked[0].learned(table[:, 0], told.depth)
    learned = learn(Data(told, y, weights), asked[number].prior, draws)
    pending = np.flatnonzero([trial.success is None for trial in evidence])
    return tuple(presume(fitted, inputs[pending]) for fitted in learned) if len(pending) else learned
