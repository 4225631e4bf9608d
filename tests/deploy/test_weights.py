"""Which weights a supernet gets, and what is said where there are none."""

from dataclasses import replace

import numpy as np
import pytest

from deploy_nas.adapters import downloads, supernets
from deploy_nas.core.errors import DownloadError, WeightsError
from deploy_nas.core.resources import Download, Resource
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.deploy import weights
from deploy_nas.deploy.weights import default_weights, load_supernet, published_path, weights_path

SPACE = embedded_space()
OTHER = get_space("ofa-mbv3-w1.0")


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
    with pytest.raises(WeightsError, match=r"gone\.safetensors: .*missing; reinstall it"):
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


def test_pretrained_weights_are_those_the_space_names(fetched):
    space = publishing(git_blob_id="0" * 40)
    seen = object()
    _, said = load_supernet(space, "pretrained", progress=seen)
    assert said.source == "pretrained" and said.trained
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
