"""Notices: what a user should know of a file that is used all the same.

Readers give them as Python warnings of the class :class:`Notice`, so a library's user can filter or collect
them; the programs say them on standard error, each once (:func:`telling`).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

from deploy_nas.core.reader import plain_text


class Notice(UserWarning):
    """A file that was used, and what may be wrong with it."""


def notice(text: str, *, subject: str) -> None:
    """Give a notice about ``subject``, in one line without control characters."""
    warnings.warn(Notice(plain_text(f"{subject}: {text}").replace("\n", " ")), stacklevel=2)


@contextlib.contextmanager
def telling(say: Callable[[str], None]) -> Iterator[None]:
    """Within this context, notices go to ``say``, each once; other warnings go where they went."""
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: object = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, Notice):
                others(message, category, filename, lineno)
            elif str(message) not in told:
                told.add(str(message))
                say(str(message))

        warnings.showwarning = show
        yield
