"""Which weights a supernet gets, and what is said where there are none."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy_nas.adapters import downloads, supernets
from deploy_nas.core.errors import DownloadError, MismatchError, WeightsError
from deploy_nas.core.resources import Download, Resource
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.deploy import weights
from deploy_nas.deploy.weights import (
    default_weights,
    file_and_part,
    load_supernet,
    published_path,
    save_tuned,
    trained_on,
    transferred_supernet,
    weights_path,
)
from deploy_nas.records.model import Provenance
from deploy_nas.records.supernet import SupernetRecord, TrainedOn, save_supernet, space_named

SPACE = embedded_space()
OTHER = get_space("ofa-mbv3-w1.0")
OWN = get_space(f"{SPACE.id}@3@20+24")


def publishing(**known):
    """The embedded space, whose weights somebody publishes."""
    return replace(SPACE, published_weights=Download(url="https://x.example/w", filename="w", **known))


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """What was asked of ``downloads.fetch``, which gives the space's own weights."""
    asked = []

    def fetch(url, **how):
        asked.append((url, how))
        return SPACE.default_weights.path

    monkeypatch.setattr(downloads, "fetch", fetch)
    return asked


def test_a_space_with_weights_of_its_own_takes_them(tmp_path):
    for chosen in (None, "embedded"):
        assert default_weights(SPACE, chosen) == "embedded"
    assert weights_path(SPACE, "embedded") == SPACE.default_weights.path
    (tmp_path / "w.pth").write_bytes(b"")
    assert (
        default_weights(SPACE, tmp_path / "w.pth")
        == tmp_path / "w.pth"
        == weights_path(SPACE, tmp_path / "w.pth")
    )
    assert default_weights(OTHER, "random") == "random"


def test_other_spaces_must_be_told(tmp_path):
    for chosen, says in (
        (None, "ofa-mbv3-w1.0: this space comes without weights"),
        ("embedded", f"only these have embedded weights: {SPACE.id}, "),
        (tmp_path / "absent.pth", "absent.pth: this file of weights does not exist"),
    ):
        with pytest.raises(WeightsError, match=rf"{says}.*PATH .*pretrained .*random .*UNTRAINED"):
            default_weights(OTHER, chosen)
    with pytest.raises(WeightsError, match="comes without weights"):
        weights_path(OTHER, "embedded")


def test_weights_that_are_missing_from_their_package():
    lost = replace(SPACE, default_weights=Resource(package="deploy_nas", name="data/gone.safetensors"))
    with pytest.raises(WeightsError, match=r"gone\.safetensors: .*missing; reinstall deploy-nas"):
        load_supernet(lost)


def test_a_package_that_is_not_installed_is_named():
    lost = replace(SPACE, default_weights=Resource(package="no_such_model", name="models/w.pth"))
    with pytest.raises(WeightsError, match=rf"^{SPACE.id}: .*not installed; install no-such-model$"):
        load_supernet(lost)


def test_a_file_of_another_digest_is_refused():
    own = replace(SPACE.default_weights, sha256=supernets.weights_hash(SPACE.default_weights.path))
    assert weights_path(replace(SPACE, default_weights=own), "embedded") == own.path
    other = replace(SPACE, default_weights=replace(own, sha256="0" * 64))
    with pytest.raises(
        WeightsError, match=rf"safetensors: is not the file .*{own.sha256}, not 0{{64}}; reinstall"
    ):
        load_supernet(other)


def test_random_weights_say_so_and_are_the_seeds():
    (one, said), (again, _), (other, _) = (load_supernet(SPACE, "random", seed=seed) for seed in (3, 3, 4))
    assert (said.source, said.trained, said.seed, said.sha256) == ("random", False, 3, None)
    first, same, third = (next(net.parameters()).detach().numpy() for net in (one, again, other))
    assert np.array_equal(first, same) and not np.array_equal(first, third)


def test_a_checkpoint_is_named_by_its_file_and_hash(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(SPACE.default_weights.path.read_bytes())
    _, own = load_supernet(SPACE)
    _, said = load_supernet(SPACE, path)
    assert (said.source, said.trained) == ("mine.safetensors", True) and own.source == "embedded"
    assert said.sha256 == own.sha256 == supernets.weights_hash(path)


def test_weights_in_a_file_are_named_after_a_colon(tmp_path):
    path, odd = tmp_path / "w.pth", tmp_path / "w:ema.pth"
    path.touch()
    odd.touch()
    assert file_and_part(f"{path}:a.b") == (path, "a.b")
    assert default_weights(SPACE, f"{path}:a.b") == f"{path}:a.b" and weights_path(SPACE, f"{path}:a") == path
    assert file_and_part(odd) == (odd, "") and file_and_part(f"{odd}:ema") == (odd, "ema")
    for whole in ("embedded", f"{path}:", ":ema", f"{tmp_path}:ema", r"C:\w.pth", "absent.pth:ema"):
        assert file_and_part(whole) == (Path(whole), "")
    with pytest.raises(WeightsError, match=r"absent\.pth:ema: this file of weights does not exist"):
        default_weights(SPACE, "absent.pth:ema")


def test_pretrained_weights_are_those_the_space_names(fetched):
    space = publishing(git_blob_id="0" * 40, licence="Apache-2.0")
    seen = object()
    _, said = load_supernet(space, "pretrained", progress=seen)
    assert said.source == "pretrained" and said.trained and said.licence == "Apache-2.0"
    assert load_supernet(space, "embedded")[1].licence == "MIT"
    assert not load_supernet(space, SPACE.default_weights.path)[1].licence  # a file of one's own states none
    ((url, how),) = fetched
    assert url == "https://x.example/w" and how["filename"] == "w" and how["progress"] is seen
    assert (how["git_blob_id"], how["sha256"]) == ("0" * 40, None)
    assert "`weights` PATH" in how["hint"]
    published_path(publishing(sha256="1" * 64))
    assert fetched[-1][1]["sha256"] == "1" * 64


def test_spaces_that_nobody_publishes_weights_of(fetched):
    with pytest.raises(WeightsError, match=rf"{SPACE.id}: this space has no published weights .*have; "):
        published_path(SPACE)
    with pytest.raises(WeightsError, match=r"ofa-mbv3-w1\.0, .*ofa-proxyless-w1\.3"):
        published_path(SPACE)
    assert not fetched


def test_a_published_checkpoint_that_cannot_be_checked_is_not_downloaded(fetched):
    with pytest.raises(WeightsError, match=r"cannot be checked.*ofa_supernet_resnet50 yourself.*`weights`"):
        published_path(get_space("ofa-resnet50"))
    with pytest.raises(WeightsError, match="cannot be checked"):
        load_supernet(publishing(), "pretrained")
    assert not fetched


def test_a_download_that_fails_is_said(monkeypatch):
    def offline(url, *, hint, **_):
        raise DownloadError("cannot be downloaded", subject=url, hint=hint)

    monkeypatch.setattr(weights.downloads, "fetch", offline)
    with pytest.raises(DownloadError, match=r"download it elsewhere and name the file \(`weights` PATH\)"):
        weights_path(publishing(sha256="0" * 64), "pretrained")


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    """The folder of a supernet of three classes, with weights as nobody trained them."""
    folder = tmp_path_factory.mktemp("s") / "supernet"
    folder.mkdir()
    supernets.save_weights(supernets.build_supernet(OWN, seed=7), folder / "supernet.safetensors")
    record = SupernetRecord(
        space=OWN,
        labels=("a", "b", "c"),
        weights_sha256=supernets.weights_hash(folder / "supernet.safetensors"),
        started_from=Provenance(source="random", sha256=None, trained=False, seed=7),
        images=TrainedOn(
            training=9, validation=3, counts=(3, 3, 3), digest="d", validation_digest="v", own_split=True
        ),
        recipes=(),
        device="cpu",
        training_s=1.0,
    )
    save_supernet(record, folder)
    return folder


def differing(net, other):
    """Names of the tensors in which two nets differ."""
    theirs = other.state_dict()
    return [
        name
        for name, tensor in net.state_dict().items()
        if tensor.shape != theirs[name].shape or not np.array_equal(tensor, theirs[name])
    ]


HEAD = ["classifier.linear.weight", "classifier.linear.bias"]


def test_weights_that_come_with_a_package_are_pretrained_without_a_download(fetched):
    assert weights_path(SPACE, "pretrained") == SPACE.default_weights.path
    _, said = load_supernet(SPACE, "pretrained")
    assert (said.source, said.trained) == ("pretrained", True) and not fetched
    with pytest.raises(WeightsError, match="no published weights"):
        weights_path(OWN, "pretrained")


def test_the_folder_of_a_supernet_is_a_name_of_weights(supernet):
    path = supernet / "supernet.safetensors"
    assert default_weights(OWN, supernet) == supernet
    assert weights_path(OWN, supernet) == path
    _, said = load_supernet(OWN, str(supernet))
    assert said.sha256 == supernets.weights_hash(path)
    with pytest.raises(MismatchError, match=rf"is of space {re.escape(OWN.id)}, not {SPACE.id}"):
        weights_path(SPACE, supernet)


def test_the_space_of_a_folder_has_its_weights_as_default(supernet):
    space = space_named(str(supernet))
    assert default_weights(space, None) == "embedded"
    net, said = load_supernet(space)
    assert said.sha256 == supernets.weights_hash(supernet / "supernet.safetensors")
    assert not differing(net, supernets.build_supernet(OWN, seed=7))


def test_a_transfer_keeps_all_but_the_classifier(tmp_path):
    donor, own = load_supernet(SPACE)
    for weights_of in (None, "embedded", "pretrained", str(SPACE.default_weights.path)):
        net, said = transferred_supernet(OWN, weights_of, seed=0)
        assert differing(net, donor) == HEAD and said.sha256 == own.sha256
    again, _ = transferred_supernet(OWN, None, seed=0)
    other, _ = transferred_supernet(OWN, None, seed=1)
    assert not differing(again, net) and differing(other, net) == HEAD


def test_a_transfer_between_supernets_keeps_the_classifier_where_the_classes_are_as_many(supernet):
    given = supernets.build_supernet(OWN, seed=7)
    as_many, said = transferred_supernet(OWN, str(supernet), seed=0)
    assert not differing(as_many, given) and said.trained
    more, _ = transferred_supernet(get_space(f"{SPACE.id}@5"), supernet, seed=0)
    assert differing(more, given) == HEAD
    file = supernet / "supernet.safetensors"  # of another number of classes than space or base
    more, said = transferred_supernet(get_space(f"{SPACE.id}@5"), str(file), seed=0)
    assert differing(more, given) == HEAD and said.source == file.name
    with pytest.raises(WeightsError, match=rf"are of {re.escape(OWN.id)}, not of {OTHER.id}"):
        transferred_supernet(get_space(f"{OTHER.id}@3"), supernet, seed=0)


def test_a_transfer_of_random_weights_says_so():
    net, said = transferred_supernet(OWN, "random", seed=3)
    assert (said.source, said.trained, said.seed) == ("random", False, 3)
    assert not differing(net, supernets.build_supernet(OWN, seed=3))


def test_tuned_weights_are_of_one_subnet_alone(tmp_path):
    net, path = supernets.build_supernet(OWN, seed=1), tmp_path / "tuned.safetensors"
    save_tuned(net, OWN, OWN.smallest(), path)
    loaded, _ = load_supernet(OWN, path, architecture=OWN.smallest())
    assert not differing(loaded, net)
    for other in (None, OWN.largest(), OWN.smallest(24)):
        with pytest.raises(MismatchError, match="were fine-tuned for one subnet, which is not this one"):
            load_supernet(OWN, path, architecture=other)


@pytest.mark.parametrize(
    ("space", "weights", "seen"),
    [
        ("ofa-mbv3-cifar10", None, "CIFAR-10"),
        ("ofa-mbv3-cifar10@6", "embedded", "CIFAR-10"),
        ("ofa-mbv3-w1.2", None, "ImageNet"),
        ("ofa-mbv3-w1.2", "pretrained", "ImageNet"),
        ("efficientnet-lite0@4", "pretrained", "ImageNet"),
        ("efficientnet-lite0", "random", ""),
        ("mcunet-vww", None, ""),
        ("ofa-mbv3-w1.2", "some/file.pt", ""),
    ],
)
def test_what_weights_were_trained_on_is_known_of_those_that_are_named(space, weights, seen):
    said = trained_on(get_space(space), weights)
    assert seen in said and bool(said) == bool(seen)
