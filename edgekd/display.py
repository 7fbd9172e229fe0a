"""The live display of a run on a terminal; one line a stage where there is none."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Display:
    """A listener of `pipeline.run` that draws to stderr.

    It holds a descriptor of its own, since a stage may send the process's stderr to a log.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(2), "w")
        self._console = Console(file=self._file, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.fields[number]}"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._number = ""

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:  # elsewhere rich would print an empty line
            self._progress.stop()
        self._file.close()

    def stage_started(self, stage: str, number: int, total: int) -> None:
        self._number = f"{number:2}/{total}"
        self._task = self._progress.add_task(stage, total=None, number=self._number, what="")

    def stage_progress(self, done: int, total: int, what: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, what=what)

    def stage_finished(self, stage: str, seconds: float, reused: bool) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        how = "reused" if reused else f"{seconds:.1f} s"
        self._console.print(f"{self._number} {stage:10} {how}", highlight=False)

    def message(self, text: str) -> None:
        self._console.print(text, style="yellow", markup=False, highlight=False)
