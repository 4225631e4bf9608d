"""onnxruntime-web in a page as a :class:`Runtime`: models are opened, run and timed there."""

from __future__ import annotations

import base64
import hashlib
import math
import platform
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deploy_nas.adapters.targets.browser.channel import Channel
from deploy_nas.adapters.targets.browser.web_runtime import NAME, PROVIDERS
from deploy_nas.core.arrays import Array
from deploy_nas.core.errors import OptionError, ProviderError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import CPU_PROVIDER, UNKNOWN, WASM, WEBGPU, Fingerprint
from deploy_nas.device import machine
from deploy_nas.device.runtime import Feed, Initializers, Kept, TensorInfo
from deploy_nas.device.timing import Burst, BurstSettings

_MOST_RUNS = 100_000


class PageRun:
    """A model with its input in the page, which times it with its own clock (``TimedThere``)."""

    def __init__(self, model: PageModel, feed: Feed) -> None:
        self._model, self._feed = model, feed
        (self._entry,) = model.inputs

    def __call__(self) -> object:
        """Run once."""
        return self._model.run(self._feed)

    def burst(self, how: BurstSettings) -> Burst:
        """One burst; the page's share of the processor is not known, and counts as whole."""
        found = self._ask(
            do="burst",
            burst_ms=how.burst_ms,
            least_runs=how.least_runs,
            warmup_runs=how.warmup_runs,
            warmup_ms=how.warmup_ms,
        )
        points = tuple(round(p, 6) for p in found.numbers("points_ms"))
        core_us = found.optional_number("core_us", positive=True)
        return Burst(
            runs=found.integer("runs", 1, _MOST_RUNS),
            points_ms=points,
            busy=1.0,
            core_us=None if core_us is None else round(core_us, 3),
        )

    def paced(self, every_ms: float, runs: int) -> NDArray[np.float64]:
        """Times of runs that begin every so many ms."""
        found = self._ask(do="paced", every_ms=every_ms, runs=runs)
        return np.array(found.numbers("times_ms", positive=True))

    def _ask(self, **task: object) -> Fields:
        shape = list(self._entry.single)
        return self._model.ask({**task, "input": self._entry.name, "shape": shape})


class PageModel:
    """A model that is open in the page, or will be again after a reload."""

    def __init__(self, channel: Channel, key: str, how: Mapping[str, object]) -> None:
        self._channel, self._how = channel, {"model": key, **how}
        self._closed = False
        described = self.ask({"do": "open"})
        self.inputs = tuple(map(_described, described.objects("inputs")))
        self.outputs = tuple(map(_described, described.objects("outputs")))

    def ask(self, task: Mapping[str, object]) -> Fields:
        """Have the page do something with this model."""
        if self._closed:
            raise ValueError("the model is closed")
        return self._channel.ask({**self._how, **task})

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> Sequence[Array]:
        """Run once; float32 only."""
        (entry,) = self.inputs
        given = np.ascontiguousarray(feed[entry.name], dtype="<f4")
        found = self.ask(
            {
                "do": "run",
                "input": entry.name,
                "shape": list(given.shape),
                "values": base64.b64encode(given.tobytes()).decode(),
                "outputs": list(outputs or [one.name for one in self.outputs]),
            }
        )
        return [_array(one) for one in found.objects("outputs")]

    def bind(self, feed: Feed) -> PageRun:
        """The run on an input of this shape; the page draws its values."""
        return PageRun(self, feed)

    def close(self) -> None:
        """Nothing more is asked of it; the page frees models on its own when memory runs short."""
        self._closed = True


class PageRuntime:
    """onnxruntime-web in the page of a channel.

    Args:
        channel: to the page.
        models: served models by key, which :meth:`open` adds to.
        version: of onnxruntime-web.
        here: whether the page is on this machine, whose processor is then known.
    """

    name = NAME

    def __init__(self, channel: Channel, models: dict[str, bytes], version: str, *, here: bool) -> None:
        self.channel, self.models, self.version, self.here = channel, models, version, here

    def providers(self) -> Sequence[str]:
        """WebAssembly, and WebGPU where the browser has it."""
        return PROVIDERS if self.channel.facts().webgpu else (WASM,)

    def resolve(self, provider: str) -> str:
        """``cpu`` and the full name of ONNX Runtime's CPU provider mean WebAssembly."""
        wanted = provider.lower().removesuffix("executionprovider")
        wanted = WASM if wanted == "cpu" else wanted
        if wanted in self.providers():
            return wanted
        hint = f"available are {', '.join(self.providers())}"
        if wanted == WEBGPU:
            raise ProviderError("this browser has no WebGPU here", subject="provider", hint=hint)
        raise ProviderError(f"no execution provider {provider!r} in {NAME}", subject="provider", hint=hint)

    def check_threads(self, threads: int) -> None:
        """Raise :class:`OptionError` for threads that the page cannot have."""
        facts = self.channel.facts()
        if threads > 1 and not facts.isolated:
            raise OptionError(
                f"the page cannot have {threads}: "
                "browsers give threads only to pages of https and of loopback",
                subject="threads",
                hint="reach the page as http://localhost, for instance over adb reverse",
            )
        if not 1 <= threads <= facts.cores:
            raise OptionError(
                f"must be from 1 to the {facts.cores} cores of this device, is {threads}", subject="threads"
            )

    def open(
        self,
        model: bytes,
        *,
        provider: str = CPU_PROVIDER,
        provider_options: Mapping[str, str] | None = None,
        threads: int = 1,
        initializers: Initializers | None = None,
        worker_cores: Sequence[int] = (),
        fused: bool = True,
        kept: Kept | None = None,
    ) -> PageModel:
        """Open a model in the page; weights without values become random ones there.

        Raises:
            ProviderError: provider options, which onnxruntime-web does not take here.
            OptionError: threads that the page cannot have.
            RecordError: the page cannot load it.
        """
        if provider_options:
            raise ProviderError("are not taken by a browser", subject="provider_options")
        self.check_threads(threads)
        key = hashlib.sha256(model).hexdigest()[:24]
        self.models[key] = model
        how = {
            "provider": self.resolve(provider),
            "threads": threads,
            "given_bytes": max((value.nbytes for value in (initializers or {}).values()), default=0),
            "fused": fused,
        }
        return PageModel(self.channel, key, how)

    def fingerprint(
        self,
        *,
        threads: int,
        provider: str,
        provider_options: Mapping[str, str],
        precision: str,
        pinned: bool,
    ) -> Fingerprint:
        """The page's device, as far as its browser tells, and all of this machine's if it is here."""
        facts = self.channel.facts()
        named = " ".join(part for part in (facts.device, facts.machine) if part != UNKNOWN)
        return Fingerprint(
            cpu=machine.cpu_model() if self.here else named or UNKNOWN,
            cpu_features=tuple(machine.cpu_features()) if self.here else None,
            cores=facts.cores,
            machine=platform.machine() if self.here else facts.machine,
            os=machine.system() if self.here else facts.os,
            threads=threads,
            pinned=False,
            provider=provider,
            provider_options=dict(provider_options),
            runtime=self.name,
            runtime_version=self.version,
            build=f"{'' if facts.isolated else 'not '}cross-origin isolated; {facts.agent}",
            precision=precision,
            governor=machine.governor() if self.here else UNKNOWN,
            browser=facts.browser,
        )


def _described(fields: Fields) -> TensorInfo:
    shape = [fields.at("shape", i).value["value"] for i in range(len(fields.items("shape")))]
    return TensorInfo(
        name=fields.text("name"),
        shape=tuple(n if isinstance(n, int) and n > 0 else None for n in shape),
        dtype=fields.text("dtype"),
    )


def _array(fields: Fields) -> Array:
    if fields.text("dtype") != "float32":
        raise RecordError(f"is {fields.text('dtype')[:20]}, not float32", subject=fields.where)
    shape = tuple(fields.integers("shape"))
    values = np.frombuffer(base64.b64decode(fields.text("values")), "<f4")
    if values.size != math.prod(shape):
        raise RecordError("has another number of values than its shape says", subject=fields.where)
    return values.reshape(shape)
