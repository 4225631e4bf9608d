"""The state dict inside a checkpoint: what training tools wrap around it is recognised and named.

``DataParallel`` puts ``module.`` before every key, ``torch.compile`` ``_orig_mod.``, Lightning ``model.``.
Training scripts put the state dict beside an optimizer's, or beside averaged weights (EMA). The one that has
a net's tensors, by name and shape, is taken, unless the user names another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy_nas.core.errors import WeightsError

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

_DEEPEST = 3  # dicts within dicts; and parts of a prefix, one more
_AVERAGED = ("ema", "swa", "averag", "polyak", "shadow")
_INNER = re.compile(r"\.(?:_orig_mod|_fsdp_wrapped_module|module)\.")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A state dict in a checkpoint.

    Args:
        path: keys of the dicts around it.
        prefix: taken from the front of every key.
        state: tensors by what is left of their keys.
        others: keys beside it that have another prefix.
        inner: wrappings inside the keys were taken out.
    """

    path: tuple[str, ...]
    prefix: str
    state: State
    others: tuple[str, ...] = ()
    inner: bool = False

    @property
    def name(self) -> str:
        """Where it is in the file: ``state_dict, prefix 'model.'``."""
        held = ".".join(self.path)
        parts = {
            repr(held): held,
            f"prefix {self.prefix!r}": self.prefix,
            "'_orig_mod.' or the like inside the keys": self.inner,
        }
        return ", ".join(part for part, holds in parts.items() if holds)

    @property
    def place(self) -> str:
        """Where it is in the file, as users name it: ``state_dict.model``; empty for the whole file."""
        return ".".join(part for part in (*self.path, self.prefix.rstrip(".")) if part)

    @property
    def averaged(self) -> bool:
        """Whether its name says that it is an average of the weights in training."""
        words = f"{'.'.join(self.path)}.{self.prefix}".lower()
        return any(word in words for word in _AVERAGED)


def unwrapped(
    loaded: object,
    where: str,
    fits: Callable[[State], bool],
    known: Callable[[State], int],
    part: str = "",
) -> tuple[State, str]:
    """The state dict of a net, and what was wrapped around it; empty where nothing was.

    Args:
        loaded: the checkpoint's value.
        where: the file, for messages.
        fits: whether a state dict is the net's, by name and shape.
        known: how many tensors of the net it has by name: the best is taken where none fits, so that the
            first misfit can be named.
        part: the place that the user names (:attr:`Candidate.place`): only what is there, or within it, is
            looked at; empty: everything.

    Raises:
        WeightsError: no state dict, none at that place, or several that fit and differ.
    """
    held = list(_state_dicts(loaded))
    if not held:
        raise WeightsError(f"contains no state dict{_why_none(loaded)}", subject=where)
    every = [candidate for path, state in held for candidate in _candidates(path, state)]
    found = _within(part, every)
    if not found:
        places = [c.place for c in every if fits(c.state)] or [c.place for c in every if not c.prefix]
        names = ", ".join(map(repr, dict.fromkeys(filter(None, places)))) or "one state dict without a name"
        raise WeightsError(f"holds no weights named {part!r}", subject=where, hint=f"it holds {names}")
    fitting = [candidate for candidate in found if fits(candidate.state)]
    if not fitting:  # parts of the net may have been wrapped each by itself
        inner = [c for path, state in held for c in _candidates(path, _without_inner(state), inner=True)]
        fitting = [candidate for candidate in _within(part, inner) if fits(candidate.state)]
    if not fitting:
        best = max(found, key=lambda candidate: (known(candidate.state), not candidate.averaged))
        return best.state, best.name if part else _said(best, [])
    plain = [candidate for candidate in fitting if not candidate.averaged] or fitting
    chosen = plain[0]
    for other in plain[1:]:
        if not _same(chosen.state, other.state):
            raise WeightsError(
                f"holds several state dicts that fit: {'; '.join(c.name or 'the whole file' for c in plain)}",
                subject=where,
                hint=f"name the one you mean: {' or '.join(f'{where}:{c.place}' for c in plain if c.place)}",
            )
    return chosen.state, chosen.name if part else _said(chosen, [c for c in fitting if c is not chosen])


def _within(part: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those at a place or within it."""
    return [c for c in candidates if not part or f"{c.place}.".startswith(f"{part}.")]


def _said(chosen: Candidate, beside: Sequence[Candidate]) -> str:
    """The wrapping in words, with what was left in the file."""
    left = [f"{candidate.place!r} left out" for candidate in beside if candidate.averaged]
    named = {key for candidate in beside for key in candidate.state}
    others = [key for key in chosen.others if not any(key.endswith(f".{name}") for name in named)]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        left.append(f"{others[0]!r}{more} left out")
    usual = (
        chosen.path == ("state_dict",) and not chosen.prefix and not chosen.inner
    )  # as published checkpoints are
    return "; ".join(part for part in ("" if usual and not left else chosen.name, *left) if part)


def _state_dicts(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], State]]:
    """Every dict of tensors in ``value``, from the outside in."""
    import torch

    if not isinstance(value, Mapping) or not value:
        return
    if all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items()):
        yield path, dict(value)
        return
    if len(path) < _DEEPEST:
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _state_dicts(inner, (*path, key))


def _without_inner(state: State) -> State:
    return {_INNER.sub(".", key): value for key, value in state.items()}


def _candidates(path: tuple[str, ...], state: State, *, inner: bool = False) -> Iterator[Candidate]:
    """The state dict as it is, and what is left under each prefix that many of its keys have."""
    yield Candidate(path=path, prefix="", state=state, inner=inner)
    counted: Counter[str] = Counter()
    for key in state:
        parts = key.split(".")[:-1]
        counted.update(".".join(parts[:n]) + "." for n in range(1, min(len(parts), _DEEPEST + 1) + 1))
    for prefix, count in counted.items():
        if 4 * count >= len(state) and count > 1:
            left = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            others = tuple(k for k in state if not k.startswith(prefix) and not k.endswith(_COUNTER))
            yield Candidate(path=path, prefix=prefix, state=left, others=others, inner=inner)


def _same(one: State, other: State) -> bool:
    """Whether two state dicts hold the same weights."""
    import torch

    keys = {key for key in one if not key.endswith(_COUNTER)}
    return keys == {key for key in other if not key.endswith(_COUNTER)} and all(
        one[key] is other[key] or torch.equal(one[key], other[key]) for key in keys
    )


def _why_none(loaded: object) -> str:
    """The first value that keeps the obvious place from being a state dict."""
    import torch

    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping):
        return ""
    odd = next(
        (k for k, v in state.items() if not isinstance(k, str) or not isinstance(v, torch.Tensor)), None
    )
    return "" if odd is None else f": {odd!r} is not a tensor"
