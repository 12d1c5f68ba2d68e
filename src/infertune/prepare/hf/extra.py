"""The optional packages: whether they are here, and how to keep them from talking."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from infertune.core.errors import UsageError

PACKAGES = ("torch", "transformers", "optimum", "safetensors")


def check_extra(find: Callable[[str], object | None] = find_spec) -> None:
    """Raises `UsageError` (``extra-missing``) when a package of the extra is not installed."""
    lacking = [name for name in PACKAGES if find(name) is None]
    if lacking:
        raise UsageError(
            "extra-missing",
            f"importing Hugging Face models needs {', '.join(lacking)}",
            hint='pip install "infertune[hf]"',
        )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No warnings and log lines of the exporters about their own inner workings; whatever they print goes to stderr."""
    from optimum.utils import logging as optimum_logging
    from transformers.utils import logging as transformers_logging

    loggers = (optimum_logging, transformers_logging)
    before = [logger.get_verbosity() for logger in loggers]
    for logger in loggers:
        logger.set_verbosity_error()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.set_verbosity(level)
