"""An MCUNet space that is only declared, and a predictor of it from real labels."""

import gzip
import itertools
import json

import numpy as np
import pytest

from deploy_nas.accuracy.fit import FitSettings, fit_accuracy
from deploy_nas.core.families.mobilenet_v2 import PROXYLESS_WIDTHS, mcunet
from deploy_nas.core.stats import rank_correlation
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader

SPACE = mcunet(
    id="mcunet-vilatsut",
    summary="the supernet of Vilatsut/mcunet",
    base_widths=PROXYLESS_WIDTHS,
    widths=(1.3,),
    base_depths=(2, 2, 2, 2, 2),
    depths=(2, 3, 4),
    image_sizes=(32, 64, 96, 128, 144, 160),
)
FITTED, JUDGED = 1600, 800
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]


@pytest.fixture(scope="module")
def labels(data_dir):
    path = data_dir / "mcunet" / "accuracy.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no measured subnets in {path}")
    with gzip.open(path, "rt") as file:
        lines = [json.loads(line) for line in itertools.islice(file, 0, 30_000)]
    chosen = np.random.default_rng(0).permutation(len(lines))[: FITTED + JUDGED]
    return [lines[i] for i in chosen]


def test_a_predictor_ranks_subnets_it_has_not_seen(labels):
    top1 = np.array([line["top1"] for line in labels])
    encoded = SPACE.encode([{k: v for k, v in line.items() if k != "top1"} for line in labels])
    header = AccuracyHeader(space=SPACE, weights="-", images="-", image_count=1)
    data = AccuracyData(header=header, encoded=encoded[:FITTED], top1_percent=top1[:FITTED])
    # Taught 3,000 more and not 60,000: ranks as well, in a fifth of the time.
    settings = FitSettings(hidden=(64, 64, 64), taught=3000, epochs=20, held_out=0.02, batch_size=128)
    predictor, _ = fit_accuracy(data, settings)
    predicted, measured = predictor.predict_encoded(encoded[FITTED:]), top1[FITTED:]
    assert np.abs(predicted - measured).mean() < 1.2  # they span 35 points
    assert rank_correlation(predicted, measured) > 0.8
    sizes = np.array(SPACE.image_sizes)[encoded[FITTED:, 0]]
    for size in (96, 128, 144, 160):  # at 32 px that supernet answers one class whatever it sees
        at = sizes == size
        assert rank_correlation(predicted[at], measured[at]) > 0.3, size
