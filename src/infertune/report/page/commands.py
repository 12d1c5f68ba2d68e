"""Commands and code for copying: how to ask the question again, how to take the winner along."""

from __future__ import annotations

import re

from infertune.core.findings import Answer
from infertune.core.space import Point
from infertune.report.inert import one_line

NOTE = "Give the model file's path, and a folder in place of RUN. The same seed gives the same inputs and block order."

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def quoted(text: str) -> str:
    """One word of a POSIX shell, inert; nothing in it is expanded."""
    shown = one_line(text)
    return shown if _PLAIN.fullmatch(shown) else "'" + shown.replace("'", "'\"'\"'") + "'"


def file_name(path: str) -> str:
    """The last part of a path: reports are passed on, and folders are nobody's business."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def repeat(found: Answer) -> str:
    """The command that asks the same question. The model is named by its file alone."""
    question = found.question
    budget = () if not found.budget_s else ("--budget", f"{found.budget_s:g}s")
    targets = dict.fromkeys(device.target for device in question.devices)
    parts = [
        "infertune", "tune", file_name(question.model.path), "--goal", question.goal, *budget,
        *(word for symbol, size in question.model.shapes for word in ("--shape", f"{symbol}={size}")),
        *(word for target in targets for word in ("--target", target)),
        *(word for knob, values in question.wanted for word in ("--knob", f"{knob}={','.join(map(str, values))}")),
        *(("--inputs", file_name(question.feed.path)) if question.feed.path else ()),
        *(("--strategy", question.strategy) if question.strategy != "auto" else ()),
        "--seed", str(question.seed), "-o", "RUN",
    ]  # fmt: skip
    return " ".join(map(quoted, parts))


def measure(found: Answer, point: Point) -> str:
    """The command that measures a point again, three fresh launches."""
    question = found.question
    settings = (word for name, value in point.settings for word in ("--set", f"{name}={value}"))
    shapes = (word for symbol, size in question.model.shapes for word in ("--shape", f"{symbol}={size}"))
    parts = ["infertune", "measure", file_name(question.model.path), "--target", point.target, *shapes, *settings]
    return " ".join(map(quoted, parts))


def take() -> str:
    """Shell lines that write and check the winner's bundle."""
    return "infertune export RUN -o deploy/\ninfertune verify deploy/"


def take_levels(found: Answer) -> str:
    """Shell lines that write the bundle of what is best at each level."""
    texts = [at.limit.text for at in found.levels if at.winner]
    folders = [re.sub(r"[^\w.]+", "-", text) for text in texts]
    lines = zip(texts, folders, strict=True)
    return "\n".join(f"infertune export RUN --level {quoted(text)} -o deploy-{name}/" for text, name in lines)


def code(point: Point) -> str:
    """Python that reads the winner from the run folder, and its settings in words."""
    settings = "\n".join(f"#   {one_line(name, 60)} = {_literal(value)}" for name, value in point.settings)
    return (
        'import infertune\n\nstudy = infertune.Study.open("RUN")\npoint = study.best.point\n'
        f"print(point.target, dict(point.settings))\n# {one_line(point.target, 60)}:\n{settings}\n"
    )


def _literal(value: int | str) -> str:
    return repr(one_line(value, 120)) if isinstance(value, str) else str(value)
