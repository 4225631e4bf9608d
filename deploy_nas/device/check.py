"""The checking kit's program: runs the models it carries on the device it is run on.

Each model's hash is checked, it is given one image that anyone can make again, and it is timed as
``verify`` times it. Needs python3, numpy and onnxruntime only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy_nas.core.errors import DeployNASError, RecordError
from deploy_nas.device import machine
from deploy_nas.device.kit import RESULT, ProgressLine
from deploy_nas.device.session import CPU_PROVIDER, open_session
from deploy_nas.device.timing import Timer, latency_of

CHECK_FILE = "check.json"
_IMAGE_SEED = 1


def check_image(shape: Sequence[int | str | None]) -> NDArray[np.float32]:
    """The image that models are compared on, for an input of that shape (1 where it is dynamic)."""
    fixed = [d if isinstance(d, int) else 1 for d in shape]
    return np.random.default_rng(_IMAGE_SEED).standard_normal(fixed, dtype=np.float32)


def logits_of(session: Any) -> NDArray[np.float32]:
    """A session's logits for :func:`check_image`."""
    entry = session.get_inputs()[0]
    found: NDArray[np.float32] = session.run(None, {entry.name: check_image(entry.shape)})[0]
    return found


def check_models(archive: zipfile.ZipFile, progress: ProgressLine) -> dict[str, Any]:
    """Run every model of a checking kit; raises :class:`RecordError` for one that is not what was packed."""
    asked = json.loads(archive.read(CHECK_FILE))
    threads, rounds = int(asked["threads"]), int(asked["rounds"])
    total = rounds * len(asked["models"])
    found: dict[str, Any] = {}
    with machine.pinned_to(threads) as pinning:
        for name, model in asked["models"].items():
            data = archive.read(model["file"])
            if hashlib.sha256(data).hexdigest() != model["sha256"]:
                raise RecordError("is not the file that was packed", subject=name)
            session = open_session(data, threads=threads, worker_cores=pinning.worker_cores)
            timer = Timer(session, np.random.default_rng(0))
            points: list[float] = []
            runs = 0
            for _ in range(rounds):
                burst = timer.burst(burst_ms=40.0, least_runs=8, warmup_runs=5, warmup_ms=3.0)
                points += burst.points_ms
                runs += burst.runs
                progress(len(found) * rounds + 1, total, "check")
            found[name] = {
                "sha256": model["sha256"],
                "latency_ms": latency_of(points),
                **{f"p{q}_ms": float(np.quantile(points, q / 100)) for q in (50, 90, 99)},
                "runs": runs,
                "logits": [float(v) for v in logits_of(session).ravel()],
            }
        device = machine.fingerprint(
            threads=threads,
            provider=CPU_PROVIDER,
            provider_options={},
            precision="",
            pinned=pinning.pinned,
        )
    return {"device": device.to_json(), "models": found}


def main(arguments: Sequence[str] | None = None, archive: str | None = None) -> int:
    """Run the kit; returns the exit code (0 done, 2 bad input)."""
    parser = argparse.ArgumentParser(description="Runs deploy-nas models on this device.")
    parser.add_argument("-o", "--output", type=Path, default=Path(RESULT), help=f"result file [{RESULT}]")
    parser.add_argument("--wait", type=float, default=0.0, help="not used")
    asked = parser.parse_args(arguments)
    try:
        with zipfile.ZipFile(archive or sys.argv[0]) as opened:
            result = check_models(opened, ProgressLine())
        asked.output.write_text(json.dumps(result))
    except DeployNASError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or ''} {error.strerror or error}\n")
        return 2
    return 0
