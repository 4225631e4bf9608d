"""Progress of the public functions: a bar in notebooks, nothing in scripts, or a function of one's own."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[int, int, str], None]
"""Called with what is done, of how many, and words for it."""

_EVERY_S = 0.2


@contextlib.contextmanager
def shown(title: str, given: Progress | None) -> Iterator[Progress]:
    """The given function, else a bar while the context lasts, where a notebook runs this."""
    if given is not None:
        yield given
        return
    if not in_notebook():
        yield lambda done, total, what: None
        return
    bar = Bar(title)
    try:
        yield bar
    finally:
        bar.close()


def in_notebook() -> bool:
    """Whether the kernel of a notebook runs this; IPython is loaded then."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Bar:
    """A bar with the time left, drawn anew a few times a second at most."""

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.clock = title, clock
        self.began_s, self.drawn_s = clock(), -_EVERY_S
        self.handle = sys.modules["IPython"].display.display(self._drawn(0, 0, ""), display_id=True)

    def __call__(self, done: int, total: int, what: str) -> None:
        """Draw what is done."""
        now_s = self.clock()
        if now_s - self.drawn_s >= _EVERY_S or done >= total:
            self.drawn_s = now_s
            self.handle.update(self._drawn(done, total, what))

    def close(self) -> None:
        """Take the bar away."""
        self.handle.update(sys.modules["IPython"].display.HTML(""))

    def _drawn(self, done: int, total: int, what: str) -> object:
        return sys.modules["IPython"].display.HTML(self.drawn(done, total, what))

    def drawn(self, done: int, total: int, what: str) -> str:
        """The bar as HTML."""
        left = ""
        if 0 < done < total:
            left = f", {(self.clock() - self.began_s) / done * (total - done):.0f} s left"
        known = f' value="{done}" max="{total}"' if total else ""
        counted = f" {done}/{total}" if total else ""
        return f"<progress{known}></progress> {html.escape(f'{self.title} {what}')}{counted}{left}"
