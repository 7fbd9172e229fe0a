"""Keeps the libraries that load models from talking: what went wrong is in the error."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within it nothing is logged or warned of, and transformers shows no progress bar."""
    root, before = logging.getLogger(), logging.root.manager.disable
    nowhere = logging.NullHandler()
    root.addHandler(nowhere)  # without any, logging.error() would add one for good
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _no_progress_bar():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        root.removeHandler(nowhere)


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    if "transformers" not in sys.modules:
        yield
        return
    from transformers.utils import logging as shown

    if not shown.is_progress_bar_enabled():
        yield
        return
    shown.disable_progress_bar()
    try:
        yield
    finally:
        shown.enable_progress_bar()
