"""A shell that somebody watches: what was run, how often, how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from infertune.core.seams import Done, Shell


class WatchedShell:
    """`seams.Shell` around another: every program runs inside the context that ``watch`` makes of its command line."""

    def __init__(self, shell: Shell, watch: Callable[[Sequence[str]], AbstractContextManager[object]]) -> None:
        self._shell = shell
        self._watch = watch

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Done:
        with self._watch(argv):
            return self._shell.run(argv, timeout_s=timeout_s, log=log, env=env, cwd=cwd)
