"""Fine-tuning one subnet of a tiny supernet, for real."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.core.errors import MismatchError, OutputError, RecordError
from deploy_nas.core.measured import Top1
from deploy_nas.core.spaces import get_space
from deploy_nas.deploy.weights import load_supernet
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.supernet import space_named
from deploy_nas.workflows import finetune as workflow
from deploy_nas.workflows.export import ExportRequest, export
from deploy_nas.workflows.finetune import FinetuneRequest, finetune

pytestmark = pytest.mark.slow


@pytest.fixture
def asked(trained, coloured, tmp_path):
    """A request to fine-tune the smallest subnet."""
    space = space_named(str(trained))
    path = tmp_path / "a.json"
    save_architecture(ArchitectureRecord(space=space, architecture=space.smallest()), path)

    def make(**changes):
        values = {"images": coloured, "output": tmp_path / "t.safetensors", "epochs": 1, "batch_size": 10}
        return replace(FinetuneRequest(architecture=path, space=trained, **values), **changes)

    return make


def judged(monkeypatch, *right):
    """Top-1 before and after is set: whether training helps is up to chance on so few pictures."""
    answers = iter(right)
    monkeypatch.setattr(workflow, "_top1", lambda *_: Top1(right=next(answers), images=9))


def test_better_weights_are_written_for_that_subnet_alone(asked, trained, tmp_path, monkeypatch):
    judged(monkeypatch, 5, 6)
    done = finetune(asked())
    assert done.weights == tmp_path / "t.safetensors" and done.after.right == 6
    space = space_named(str(trained))
    net, _ = load_supernet(space)
    tuned, provenance = load_supernet(space, done.weights, architecture=space.smallest())
    before, after = net.state_dict(), tuned.state_dict()
    assert provenance.trained and any(not np.array_equal(before[k], after[k]) for k in before)
    for other in (space.largest(), None):
        with pytest.raises(MismatchError, match="were fine-tuned for one subnet, which is not this one"):
            load_supernet(space, done.weights, architecture=other)
    exported = export(
        ExportRequest(
            architecture=tmp_path / "a.json",
            output=tmp_path / "a.onnx",
            space=str(trained),
            weights=str(done.weights),
        )
    )
    assert exported.report.weights.source == "t.safetensors"


def test_weights_that_are_not_better_are_not_written(asked, tmp_path, monkeypatch):
    judged(monkeypatch, 6, 6)
    done = finetune(asked())
    assert done.weights is None and not (tmp_path / "t.safetensors").exists()


def test_a_stopped_run_goes_on(asked, monkeypatch):
    judged(monkeypatch, 5, 6, 5, 6)

    def stop(what, done, total, left_s):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(asked(seed=7, epochs=1.5), progress=stop)
    said = []
    finetune(asked(seed=7, epochs=1.5), said.append)
    assert any(line.startswith("resumed at step") for line in said)


def test_only_images_and_supernets_that_belong_together_are_taken(asked, coloured, tmp_path):
    with pytest.raises(MismatchError, match="are not the images that the supernet was trained on"):
        finetune(asked(validation=coloured))
    with pytest.raises(RecordError, match=r"holds no supernet\.json"):
        finetune(asked(space=tmp_path))
    other = get_space("ofa-mbv3-cifar10@3")
    save_architecture(
        ArchitectureRecord(space=other, architecture=other.smallest()), tmp_path / "o.json", force=True
    )
    with pytest.raises(MismatchError, match="is of space"):
        finetune(replace(asked(), architecture=tmp_path / "o.json"))
    (tmp_path / "t.safetensors").touch()
    with pytest.raises(OutputError, match="exists already"):
        finetune(asked())


def test_of_several_processes_the_first_tunes_alone(asked, tmp_path, monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(SystemExit) as ended:
        finetune(asked())
    assert ended.value.code == 0 and not (tmp_path / "t.safetensors").exists()
