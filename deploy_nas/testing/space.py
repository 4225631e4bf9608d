"""The contract of a search space: every command runs on it, unmocked, at small image sizes.

A space is given by its id, and nothing here depends on its kind of network. A package with a space tests it
like this::

    from deploy_nas.testing.space import SpaceContract

    class TestMySpace(SpaceContract):
        space_id = "my-space"
        image_sizes = (32,)

Timings take only a few runs each: they show that a command works, and mean nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from deploy_nas.accuracy.encoding import feature_layout, total_figure
from deploy_nas.accuracy.predictor import AccuracyPredictor, save_accuracy_predictor
from deploy_nas.adapters import graphs, supernets
from deploy_nas.adapters.mlp import MLP
from deploy_nas.cli import main
from deploy_nas.core import spaces
from deploy_nas.core.errors import ArchitectureError, RecordError
from deploy_nas.core.settings import Settings
from deploy_nas.core.space import Architecture, Space, image_size_of
from deploy_nas.core.space_check import check_space
from deploy_nas.device.measure import MeasureSettings
from deploy_nas.profiling.plan import ProfilePlan
from deploy_nas.records.accuracy import AccuracyData, AccuracyHeader, save_accuracy_data
from deploy_nas.search.efficiency import AnalyticalEfficiencyPredictor

if TYPE_CHECKING:
    import torch

_CALIBRATION = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The files that the commands make for a space, one after another."""

    folder: Path
    checkpoint: Path
    predictor: Path
    profile: Path
    best: Path
    model: Path
    images: Path
    front: Path


class SpaceContract:
    """Subclass it and set ``space_id``; each test is one thing that every space must do.

    Args:
        space_id: id of the space, which must be installed or registered.
        image_sizes: sizes to test; ``None``: all of the space's.
        samples: number of random subnets whose graphs are compared with the supernet's modules.
        runs_active: whether the supernet itself runs as its active subnet, as those of ``ofa`` do.
    """

    space_id: ClassVar[str]
    image_sizes: ClassVar[tuple[int, ...] | None] = (32,)
    samples: ClassVar[int] = 3
    runs_active: ClassVar[bool] = True

    # -- the declaration ----------------------------------------------------------------

    def test_the_declaration_is_whole(self) -> None:
        """Every part has the type and the values that it must have, and every layer can be built."""
        check_space(spaces.get_space(self.space_id))

    # -- fixtures ---------------------------------------------------------------------

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> Iterator[Space]:
        """The space at the contract's image sizes, registered under its own id meanwhile."""
        whole = spaces.get_space(cls.space_id)
        sizes = cls.image_sizes or whole.image_sizes
        with spaces.registered(replace(whole, image_sizes=sizes, profile_image_sizes=sizes)) as small:
            yield small

    @pytest.fixture(scope="class")
    @classmethod
    def net(cls, space: Space) -> torch.nn.Module:
        """Its supernet, with random weights through which signals neither vanish nor explode."""
        return randomised(supernets.build_supernet(space))

    @pytest.fixture(scope="class")
    @classmethod
    def architectures(cls, space: Space) -> list[Architecture]:
        """Random subnets."""
        rng = np.random.default_rng(0)
        return [space.sample(rng) for _ in range(cls.samples)]

    @pytest.fixture(scope="class")
    @classmethod
    def quick(cls, space: Space) -> Iterator[None]:
        """Timings of a few runs each, and plans of a few networks."""
        from deploy_nas.deploy import measuring, quantize
        from deploy_nas.workflows import kit
        from deploy_nas.workflows import profile as profiling

        settings_for = profiling.settings_for
        plan = ProfilePlan(space=space, image_sizes=space.image_sizes, fit_per_size=4, validation_per_size=3)
        with pytest.MonkeyPatch.context() as patch:
            for module in (profiling, kit):
                patch.setattr(module, "settings_for", lambda asked: few_runs(settings_for(asked)))
            patch.setattr(profiling, "make_plan", lambda *a, **k: plan)
            # a network this small need not be faster in INT8
            patch.setattr(quantize, "compare_speed", lambda models, **how: [2.0, 1.0])
            together = measuring.measure_together
            patch.setattr(
                measuring,
                "measure_together",
                lambda models, how, **on: together(models, few_rounds(how), **on),
            )
            yield

    @pytest.fixture(scope="class")
    @classmethod
    def files(
        cls, space: Space, net: torch.nn.Module, quick: None, tmp_path_factory: pytest.TempPathFactory
    ) -> Files:
        """A profile, the best subnet by an arbitrary predictor, and its model file, made by the commands."""
        folder = tmp_path_factory.mktemp(space.id)
        files = Files(
            folder=folder,
            **{
                name: folder / file
                for name, file in (
                    ("checkpoint", "net.safetensors"),
                    ("predictor", "accuracy.onnx"),
                    ("profile", "device.profile.json"),
                    ("best", "best.json"),
                    ("model", "best.onnx"),
                    ("images", "images"),
                    ("front", "front.json"),
                )
            },
        )
        supernets.save_weights(net, files.checkpoint)
        save_accuracy_predictor(arbitrary_predictor(space), files.predictor)
        write_images(files.images, space)
        run("profile", "--space", space.id, "-o", files.profile)
        budgets = ("--max-latency-ms", 1e6, "--max-macs-millions", 1e6)
        search = ("--population", 10, "--generations", 3, "--predictor", files.predictor)
        run("search", "--profile", files.profile, *budgets, *search, "-o", files.best, "--allow-unstable")
        run("export", files.best, "--weights", files.checkpoint, "-o", files.model)
        few = ("--predictor", files.predictor, "--evaluations", 200, "--allow-unstable")
        run("pareto", "--profile", files.profile, *few, "-o", files.front)
        return files

    # -- the declaration -----------------------------------------------------------------------------

    def test_declaration(self, space: Space, architectures: Sequence[Architecture]) -> None:
        """Choices survive encoding, figures lie between the extremes, and errors name the fault."""
        figures = AnalyticalEfficiencyPredictor(space).get_efficiency
        side = space.image_sizes[0]
        least, most = figures(space.smallest(side)), figures(space.largest(space.image_sizes[-1]))
        for architecture in architectures:
            found = figures(architecture)
            assert all(least[name] <= found[name] <= most[name] for name in found)
            assert space.decode(space.encode([architecture]))[0] == architecture
        sample = architectures[0]
        for key, columns in space.gene_columns.items():
            listed = space.genes[columns[0] - 1].index is not None
            with pytest.raises(ArchitectureError, match=key):
                space.validate({**sample, key: [99] * len(columns) if listed else 99})
            if listed:
                with pytest.raises(ArchitectureError, match=f"{key}: must be a list of {len(columns)}"):
                    space.validate({**sample, key: [0] * (len(columns) + 1)})
        with pytest.raises(ArchitectureError, match="image_size"):
            space.validate({**sample, "image_size": side + 1})

    def test_graphs_are_the_supernets(
        self, space: Space, net: torch.nn.Module, architectures: Sequence[Architecture]
    ) -> None:
        """Parameters, weights and outputs of a subnet's graph are those of the supernet's module."""
        from deploy_nas.deploy.export import check_agreement

        side = space.image_sizes[0]
        x = np.random.default_rng(1).standard_normal((1, 3, side, side), dtype=np.float32)
        for architecture in architectures:
            resized: Architecture = {**architecture, "image_size": side}
            taken = supernets.subnet(net, resized)
            layers = space.layers(resized)
            assert sum(layer.params for _, layer in layers) == sum(p.numel() for p in taken.parameters())
            weights = supernets.folded_weights(space, resized, taken)
            model = graphs.build_model(layers, weights)
            difference, allowed = check_agreement(model, taken, x, batch=1)
            assert difference <= allowed
            if self.runs_active:
                supernets.activate(net, resized)
                whole = supernets.forward(net.eval(), x)
                np.testing.assert_allclose(supernets.forward(taken, x), whole, atol=allowed)

    # -- the commands --------------------------------------------------------------------------------

    def test_spaces(self, space: Space) -> None:
        """``spaces`` lists it."""
        assert any(found["id"] == space.id for found in json.loads(run("spaces", "--json")))

    def test_profile(self, space: Space, files: Files) -> None:
        """``profile`` times every layer; ``profiles`` shows, lists and compares its file."""
        from deploy_nas.records.profile import load_profile

        profile = load_profile(files.profile)
        assert {row.key for row in profile.rows} == {layer.key for layer in space.rows}
        assert profile.validation is not None
        shown = run("profiles", "show", files.profile, "--architecture", files.best)
        assert "total" in shown and profile.id in shown
        assert files.profile.name in run("profiles", "list", files.folder)
        assert "1.000 times as long" in run("profiles", "compare", files.profile, files.profile)

    def test_search(self, space: Space, files: Files) -> None:
        """``search`` wrote an architecture of the space, with its predictions."""
        from deploy_nas.records.architecture import load_architecture
        from deploy_nas.records.profile import load_profile

        record = load_architecture(files.best)
        assert record.space.id == space.id and record.predicted.budget_ms == 1e6
        assert record.predicted.profile == load_profile(files.profile).id
        assert record.predicted.provider == "CPUExecutionProvider"

    def test_pareto(self, space: Space, files: Files) -> None:
        """``pareto`` found a front, and picks its knee from it."""
        knee = files.folder / "knee.json"
        run("pareto", "--from", files.front, "--pick", "knee", "--pick-output", knee)
        found = json.loads(files.front.read_text())
        assert found["space"] == space.id and found["candidates"]
        assert json.loads(knee.read_text())["predicted"]["picked"] == "knee"

    def test_explain(self, space: Space, files: Files) -> None:
        """``explain`` gives every layer its share."""
        asked = ("--profile", files.profile, "--predictor", files.predictor, "--json")
        found = json.loads(run("explain", files.best, *asked))
        architecture = space.decode(space.encode([json.loads(files.best.read_text())]))[0]
        places = [layer["place"] for layer in found["layers"]]
        assert [name for name, _ in space.layers(architecture)] == places[: len(space.layers(architecture))]

    def test_export_and_verify(self, space: Space, files: Files) -> None:
        """``export`` wrote a file, which ``verify`` compares with the profile and the budget."""
        found = json.loads(run("verify", files.model, "--profile", files.profile, "--json"))
        record = json.loads(files.best.read_text())
        assert found["measured"]["latency_ms"] > 0 and found["within_budget"] is True
        assert found["predicted_ms"] == pytest.approx(record["predicted"]["latency_ms"], rel=1e-4)
        assert found["differences"] == []

    def test_int8_and_bundle(self, files: Files) -> None:
        """``export --int8 --bundle`` writes both precisions, and ``verify`` checks the bundle again."""
        output, bundle = files.folder / "int8" / "best.onnx", files.folder / "bundle"
        output.parent.mkdir()
        # statistics estimated on noise would make an ill-conditioned network of random weights
        images = ("--calibration-images", files.images, "--calibration-limit", _CALIBRATION, "--int8")
        asked = (
            "--weights",
            files.checkpoint,
            "--bundle",
            bundle,
            "--max-accuracy-drop",
            100,
            "--keep-statistics",
        )
        run("export", files.best, "-o", output, *images, *asked)
        found = json.loads(run("verify", bundle, "--json"))["models"]
        assert [name.rpartition(": ")[2] for name in found] == ["model.onnx", "model.int8.onnx"]
        assert all(model["certificate"]["measured"]["latency_ms"] > 0 for model in found.values())

    def test_report(self, space: Space, files: Files) -> None:
        """``report`` writes a page that draws every layer."""
        page = files.folder / "report.html"
        asked = ("--profile", files.profile, "--model", files.model, "--predictor", files.predictor)
        run("report", files.best, *asked, "--front", files.front, "-o", page)
        assert space.id in page.read_text(encoding="utf-8")

    def test_accuracy(self, space: Space, files: Files) -> None:
        """``accuracy collect`` measures subnets on images; a file of that form trains a predictor."""
        from deploy_nas.accuracy.fit import MIN_SUBNETS, FitSettings
        from deploy_nas.workflows.accuracy import fit_file

        subnets = files.folder / "subnets.jsonl"
        asked = ("--images", files.images, "--weights", files.checkpoint, "--workers", 1, "--count", 1)
        run("accuracy", "collect", "--space", space.id, *asked, "--limit-per-class", 1, "-o", subnets)
        assert len(subnets.read_text().splitlines()) == 2
        encoded = np.unique(space.canonical(space.sample_encoded(np.random.default_rng(3), 60)), axis=0)
        top1 = 50.0 + 10.0 * np.log(total_figure(space, encoded, "macs") / 1e6 + 1.0)
        header = AccuracyHeader(space=space, weights="w", images="i", image_count=10)
        measured = AccuracyData(header=header, encoded=encoded, top1_percent=np.clip(top1, 0.0, 100.0))
        save_accuracy_data(measured, files.folder / "many.jsonl")
        quick, output = FitSettings(taught=0, epochs=2, hidden=(8,)), files.folder / "fitted.onnx"
        if len(encoded) < MIN_SUBNETS:  # a space that small is measured whole
            with pytest.raises(RecordError, match="too few"):
                fit_file(files.folder / "many.jsonl", output, quick)
            return
        fitted = fit_file(files.folder / "many.jsonl", output, quick).figures
        assert fitted.pairs and np.isfinite(fitted.mae_points)

    def test_kit(self, space: Space, files: Files) -> None:
        """``kit make`` packs the plan; its result, made here, is imported as a profile."""
        import subprocess
        import sys

        kit, result = files.folder / "kit.pyz", files.folder / "result.jsonl"
        run("kit", "make", "--space", space.id, "-o", kit)
        done = subprocess.run(  # noqa: S603 - our own kit
            [sys.executable, kit, "-o", result], capture_output=True, text=True, cwd=files.folder, check=False
        )
        assert done.returncode == 0, done.stderr
        said = run("kit", "import", result, "-o", files.folder / "kit.profile.json")
        assert space.id in said


def run(*arguments: object, code: int = 0) -> str:
    """Run a command as a shell would; returns its standard output."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, f"{arguments[0]}: {result.output} {result.exception!r}"
    return result.stdout


def few_runs(settings: Settings) -> Settings:
    """Settings that time everything once, for as short as possible."""
    return replace(
        settings,
        rounds=1,
        row_rounds=1,
        passes=1,
        extra_rounds=0,
        least_runs=1,
        warmup_runs=1,
        warmup_ms=0.0,
        burst_ms=0.1,
        row_burst_ms=0.1,
        sentinel_burst_ms=0.1,
        slow_factor=1e9,
        wait_s=0.0,
    )


def few_rounds(how: MeasureSettings) -> MeasureSettings:
    """Settings that measure a model for an instant, and wait for nothing."""
    return replace(
        how, rounds=2, burst_ms=0.1, least_runs=2, warmup_runs=1, warmup_ms=0.0, pause_s=0.0, wait_s=0.0
    )


def arbitrary_predictor(space: Space) -> AccuracyPredictor:
    """A linear predictor with random weights: its ranking is meaningless."""
    layout = feature_layout(space)
    weight = np.random.default_rng(2).random((len(layout.columns), 1), dtype=np.float32)
    return AccuracyPredictor(
        space=space, layout=layout, mlp=MLP(members=(((weight, np.zeros(1, dtype=np.float32)),),))
    )


def write_images(folder: Path, space: Space) -> None:
    """Write noise images into class folders: at least one per class, and enough for INT8 calibration."""
    from PIL import Image

    rng, side = np.random.default_rng(4), image_size_of(space.largest())
    each = -(-_CALIBRATION // space.classes)
    width = len(str(space.classes))
    for label in range(space.classes):
        name = space.labels[label] if space.labels else f"class{label:0{width}}"
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def randomised(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The net with weights through which signals neither vanish nor explode, and random batch norms."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif name.endswith("_matrix"):
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
            elif value.ndim == 1:
                noise = 0.3 * torch.randn(value.shape, generator=generator)
                value.copy_(noise + (1.0 if name.endswith("bn.weight") else 0.0))
            elif value.ndim > 1:
                value.mul_(6**0.5)
    return net
