"""What is gathered for a report: of this subnet, this profile, this model, and of no other."""

import json
from dataclasses import replace

import pytest

from deploy_nas.accuracy.predictor import load_accuracy_predictor
from deploy_nas.core.errors import ImagesError, MismatchError, OptionError, OutputError
from deploy_nas.core.fingerprint import Difference
from deploy_nas.core.measured import Measured
from deploy_nas.core.notices import Notice
from deploy_nas.core.predicted import Elsewhere
from deploy_nas.core.recipe import Recipe
from deploy_nas.core.spaces import embedded_space, get_space
from deploy_nas.deploy.verify import Verification
from deploy_nas.records.architecture import ArchitectureRecord, save_architecture
from deploy_nas.records.evaluation import Evaluation
from deploy_nas.records.model import Provenance
from deploy_nas.records.profile import save_profile
from deploy_nas.records.result import SEARCH, Asked, Candidate, SearchRecord, Timed, save_result
from deploy_nas.records.supernet import LossPoint, SupernetRecord, TrainedOn, save_supernet
from deploy_nas.workflows import report as workflow
from deploy_nas.workflows.pareto import find_front, pick
from deploy_nas.workflows.question import LATENCY, SearchRequest
from deploy_nas.workflows.report import Findings, ReportRequest, report, report_data, write_report
from deploy_nas.workflows.search import search

SPACE = embedded_space()


@pytest.fixture(scope="module")
def findings(made_profile):
    profile, predictor = made_profile(), load_accuracy_predictor(SPACE, "embedded")
    asked = SearchRequest(
        budgets={LATENCY: 0.35}, hyper={"population_size": 100, "max_time_budget": 5}, seed=3
    )
    record, _ = search(profile, predictor, asked)
    front, _ = find_front(profile, predictor, SearchRequest(budgets={}), evaluations=4000)
    return Findings(record=record, profile=profile, predictor=predictor, front=front)


def changed(findings, **predicted):
    """The findings with other things promised of the subnet."""
    record = findings.record
    said = replace(record.predicted, **predicted)
    return replace(findings, record=replace(record, predicted=said))


def measured(latency_ms):
    return Measured(latency_ms=latency_ms, p50_ms=latency_ms, p90_ms=latency_ms, p99_ms=latency_ms, runs=9)


def timed(record, latency_ms, profile_id):
    """The result of a search that timed this subnet, and one more."""
    other = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24), predicted=record.predicted)
    return SearchRecord(
        kind=SEARCH,
        space=SPACE,
        asked=Asked(profiles={LATENCY: profile_id}, measure_top=2, bytes_per_element=4),
        history=(),
        evaluations=10,
        interrupted=False,
        candidates=[
            Candidate(record=record, measured=Timed(latency_ms=latency_ms, within_budget=True)),
            Candidate(record=other, measured=Timed(latency_ms=0.2, within_budget=True)),
        ],
    )


def test_data_is_what_the_profile_predicts(findings):
    data = report_data(findings, ["one", "two"])
    total = sum(block.latency_ms for block in data.winner.blocks)
    assert total == pytest.approx(data.winner.latency_ms, abs=1e-4)
    assert data.winner.latency_ms == pytest.approx(findings.record.predicted.latency_ms)
    assert data.winner.bound_ms == pytest.approx(findings.record.predicted.bound_ms, rel=1e-4)
    assert data.budget_ms == 0.35 and data.winner.measured_ms is None and len(data.pairs) == 40
    assert {name: note for name, _, note in data.facts}["budget"] == "not measured yet"
    costs = [point.latency_ms for point in data.front]
    assert costs == sorted(costs) and len(costs) > 20
    assert data.commands == ["one", "two"] and data.warnings == []
    assert data.max_slots == {f"stage{i}": 4 for i in range(1, 6)} and len(data.cloud) == 500


def test_a_verification_gives_the_verdict_and_its_warnings(findings):
    def found(latency_ms, **more):
        verified = Verification(measured=measured(latency_ms), budget_ms=0.35, **more)
        return report_data(replace(findings, verification=verified))

    kept = found(0.3)
    assert kept.winner.measured_ms == 0.3 and kept.warnings == []
    assert kept.timed[-1] == (kept.winner.latency_ms, 0.3, "the subnet reported on")
    differences = (Difference(name="threads", profiled=1, found=2),)
    missed = found(0.4, speed=0.8, differences=differences)
    assert [said.split()[0] for said in missed.warnings] == ["The", "The", "It"]
    assert "threads: profiled 1, here 2" in missed.warnings[-1]
    assert ("budget", "0.35 ms", "MISSED") in missed.facts


def test_what_a_search_timed_is_shown_beside_its_prediction(findings):
    result = timed(findings.record, 0.31, findings.profile.id)
    data = report_data(replace(findings, result=result))
    assert data.winner.measured_ms == 0.31 and ("budget", "0.35 ms", "kept") in data.facts
    assert [name for _, _, name in data.timed] == ["candidate 2", "the subnet reported on"]


def test_peak_memory_is_that_of_the_search(findings):
    """Of fp32 activations it is four times that of int8."""
    four = 4 * findings.record.predicted.figures["KBPeakMemory"]
    figures = {**findings.record.predicted.figures, "KBPeakMemory": four}
    data = report_data(changed(findings, figures=figures))
    assert data.winner.figures["KBPeakMemory"] == four
    assert ("peak memory", f"{four:.0f} KB", "activations") in data.facts


def test_a_budget_asked_on_another_profile_does_not_count_here(findings):
    data = report_data(changed(findings, profile="another"))
    assert data.budget_ms is None and "another profile" in data.warnings[0]


def test_of_the_second_of_two_devices_the_budget_there_is_shown(findings):
    other = Elsewhere(device="slow", profile=findings.profile.id, latency_ms=1.0, budget_ms=6.0)
    data = report_data(changed(findings, profile="the first", others=(other,)))
    assert data.budget_ms == 6.0 and not any("another profile" in said for said in data.warnings)


def test_other_spaces_and_files_that_are_there_are_refused(findings, tmp_path):
    (tmp_path / "r.html").write_text("kept")
    with pytest.raises(OutputError, match="exists already"):
        write_report(findings, tmp_path / "r.html")
    other = get_space("ofa-mbv3-w1.0")
    wrong = ArchitectureRecord(space=other, architecture=other.smallest())
    with pytest.raises(MismatchError, match=r"architecture: is of space ofa-mbv3-w1\.0"):
        write_report(replace(findings, record=wrong), tmp_path / "new.html")
    assert (tmp_path / "r.html").read_text() == "kept" and not (tmp_path / "new.html").exists()


def evaluation(right):
    """Of 100 images, so many right, all of the first class."""
    rows = [[0] * 10 for _ in range(10)]
    rows[0][:2] = right, 100 - right
    return Evaluation(labels=SPACE.labels, confusion=tuple(map(tuple, rows)), mistakes=(), images=100)


@pytest.fixture
def training():
    return SupernetRecord(
        space=SPACE,
        labels=SPACE.labels,
        weights_sha256="0",
        started_from=Provenance(source="pretrained", sha256="1", trained=True),
        images=TrainedOn(
            training=100,
            validation=20,
            counts=(1, *(11,) * 9),
            digest="2",
            validation_digest="3",
            own_split=True,
        ),
        recipes=(Recipe(),),
        device="cpu",
        training_s=60.0,
        curve=(LossPoint(epoch=1.0, phase="largest", loss=0.5, elapsed_s=60.0),),
    )


def test_an_evaluation_is_shown_beside_the_prediction(findings):
    bare = report_data(findings)
    assert bare.evaluation is None and bare.training is None
    right = round(bare.winner.top1)
    close = report_data(replace(findings, evaluation=evaluation(right)))
    assert close.facts[1][:2] == ("measured top-1", f"{right:.2f}%") and close.warnings == []
    far = report_data(replace(findings, evaluation=evaluation(20)))
    assert "lies outside the 95% interval" in far.warnings[-1]
    assert far.evaluation.worst[0].trained_on is None


def test_a_training_gives_the_number_of_images_by_class(findings, training):
    data = report_data(replace(findings, evaluation=evaluation(80), training=training))
    assert data.training.lead == "Trained on 100 images of 10 classes, judged on 20 held out of them."
    counts = {shown.name: shown.trained_on for shown in data.evaluation.worst}
    assert counts == dict(zip(SPACE.labels, training.images.counts, strict=True))


def test_the_training_of_another_space_is_refused(findings, training, tmp_path):
    other = replace(training, space=get_space("ofa-mbv3-w1.0"))
    with pytest.raises(MismatchError, match=r"training: is of space ofa-mbv3-w1\.0"):
        write_report(replace(findings, training=other), tmp_path / "r.html")


# -- from files -----------------------------------------------------------------------------------


@pytest.fixture
def files(findings, tmp_path):
    save_profile(findings.profile, tmp_path / "p.json")
    save_architecture(findings.record, tmp_path / "b.json")
    save_result(findings.front, tmp_path / "front.json")
    return ReportRequest(
        architecture=tmp_path / "b.json",
        profile=tmp_path / "p.json",
        output=tmp_path / "r.html",
        front=tmp_path / "front.json",
    )


def test_commands_are_made_of_what_was_asked(findings, files, tmp_path):
    save_result(timed(findings.record, 0.31, findings.profile.id), tmp_path / "b.search.json")
    seen = []

    def commands(record, profile, asked):
        seen.append((record, profile, asked))
        return ["deploy-nas search --profile p.json"]

    report(files, commands)
    ((record, profile, asked),) = seen
    assert (record, profile) == (findings.record, findings.profile)
    assert asked.measure_top == 2 and asked.bytes_per_element == 4
    assert "deploy-nas search --profile p.json" in files.output.read_text()


def test_the_result_of_another_search_or_profile_is_left_out(findings, files, tmp_path, monkeypatch):
    gathered = []
    monkeypatch.setattr(workflow, "write_report", lambda findings, *_, **__: gathered.append(findings))
    other = ArchitectureRecord(
        space=SPACE, architecture=SPACE.largest(32), predicted=findings.record.predicted
    )
    save_result(timed(other, 0.3, findings.profile.id), tmp_path / "b.search.json")
    report(files)
    save_result(timed(findings.record, 0.3, "another"), tmp_path / "b.search.json", force=True)
    report(files)
    other = changed(findings, budget_ms=0.2).record  # it found the same network, within another budget
    save_result(timed(other, 0.3, findings.profile.id), tmp_path / "b.search.json", force=True)
    report(files)
    assert [found.result for found in gathered] == [None, None, None]
    assert [found.asked.measure_top for found in gathered] == [0, 2, 0] and gathered[0].asked == Asked()
    save_result(timed(findings.record, 0.3, findings.profile.id), tmp_path / "b.search.json", force=True)
    report(files)
    assert gathered[3].result.timed[0][1].latency_ms == 0.3


def test_a_pick_of_another_front_says_nothing_of_this_one(findings, files, tmp_path, monkeypatch):
    gathered = []
    monkeypatch.setattr(workflow, "write_report", lambda findings, *_, **__: gathered.append(findings))
    own = pick(findings.front, "knee")
    other = replace(own, predicted=replace(own.predicted, seed=99))
    for picked in (own, other, pick(findings.front, "0.4")):
        save_architecture(picked, tmp_path / "b.json", force=True)
        report(files)
    assert [found.asked.evaluations for found in gathered] == [4000, None, 4000]


def test_figures_that_cannot_be_checked_are_left_out(findings, files, tmp_path, monkeypatch):
    """A front without a digest is computed anew, and times of a search without one are not shown."""
    gathered = []
    monkeypatch.setattr(workflow, "write_report", lambda findings, *_, **__: gathered.append(findings))
    save_result(timed(findings.record, 0.1, findings.profile.id), tmp_path / "b.search.json")
    for name in ("front.json", "b.search.json"):
        value = json.loads((tmp_path / name).read_text()) | {"version": 1}
        del value["digest"]
        (tmp_path / name).write_text(json.dumps(value))
    with pytest.warns(Notice) as told:
        report(files)
    named = {str(w.message).split(": was")[0] for w in told}
    assert named == {str(files.front), str(tmp_path / "b.search.json")}
    assert gathered[0].front is None and gathered[0].result is None
    assert gathered[0].asked.measure_top == 2


def test_a_front_of_another_profile_is_refused(findings, files, tmp_path):
    report(files)
    other = replace(findings.profile, sentinel_ms=2 * findings.profile.sentinel_ms)
    save_profile(other, tmp_path / "q.json")
    with pytest.raises(MismatchError, match=r"front\.json: was made with another profile than"):
        report(replace(files, profile=tmp_path / "q.json", force=True))


def test_a_model_of_another_architecture_is_refused(files, model_data, tmp_path):
    (tmp_path / "other.onnx").write_bytes(model_data())
    with pytest.raises(MismatchError, match=r"other\.onnx: holds another architecture"):
        report(replace(files, model=tmp_path / "other.onnx"))


def test_the_model_is_verified_on_this_machine_first(findings, files, model_data, tmp_path, monkeypatch):
    from deploy_nas.workflows import verify

    monkeypatch.setattr(verify, "measure", lambda data, **how: measured(0.2))
    record = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24))
    save_architecture(record, files.architecture, force=True)
    (tmp_path / "m.onnx").write_bytes(model_data())
    report(replace(files, model=tmp_path / "m.onnx"))
    text = files.output.read_text()
    assert "measured latency" in text and "It was measured on another device or setup: cpu: profiled" in text


def test_images_are_classified_by_the_model(files, model_data, pictures, tmp_path, monkeypatch):
    from deploy_nas.workflows import verify

    monkeypatch.setattr(verify, "measure", lambda data, **how: measured(0.2))
    record = ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24))
    save_architecture(record, files.architecture, force=True)
    (tmp_path / "m.onnx").write_bytes(model_data(labels=list(SPACE.labels)))
    report(replace(files, model=tmp_path / "m.onnx", images=pictures))
    text = files.output.read_text()
    assert "measured top-1" in text and "40 images" in text and text.count("data:image/jpeg") > 3
    assert all(part in text for part in ("Accuracy by class", "Confusion", "Worst mistakes"))
    with pytest.raises(ImagesError, match="class folder 'cow' is not one of the model's classes"):
        few = tmp_path / "few"
        (few / "cow").mkdir(parents=True)
        (few / "cow/0.png").write_bytes((pictures / "cat/0.png").read_bytes())
        report(replace(files, model=tmp_path / "m.onnx", images=few, force=True))


def test_images_without_a_model_are_refused_before_anything_is_read(files, tmp_path):
    with pytest.raises(OptionError, match=r"images: .* name `model`"):
        report(replace(files, profile=tmp_path / "absent.json", images=tmp_path))


def test_the_folder_of_a_supernet_gives_the_training(files, training, tmp_path):
    save_supernet(training, tmp_path)
    report(replace(files, space=str(tmp_path), predictor="embedded"))
    text = files.output.read_text()
    assert 'id="training"' in text and "pretrained weights" in text
    by_id = replace(files, space=SPACE.id, predictor="embedded", force=True)
    report(by_id)  # which is not a folder
    assert 'id="training"' not in files.output.read_text()
