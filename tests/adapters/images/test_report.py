"""The report in lines: nothing where nothing happened, and one plain line for each thing that did."""

from deploy_nas.adapters.images.report import LeftOut, ReadingReport, named
from deploy_nas.core.reading import Reading


def test_pictures_read_as_they_are_need_no_line() -> None:
    assert ReadingReport(source="s", used=5, classes=2, size=8).lines() == []


def test_one_is_not_many() -> None:
    left_out = (LeftOut("a.png", "is empty"),)
    report = ReadingReport(used=0, left_out=left_out, not_pictures=1, not_pictures_named=("b.txt",), turned=1)
    assert report.lines() == [
        "left out: 1 of 1 picture (a.png is empty)",
        "left out: 1 file that is not a picture (b.txt)",
        "1 picture turned upright, as EXIF says",
    ]
    report = ReadingReport(used=9, transparent=12, animated=2, enlarged=3, size=224)
    assert report.lines() == [
        "12 transparent pictures laid over white",
        "2 pictures with several frames: the first was used",
        "3 pictures smaller than 224 px enlarged",
    ]


def test_five_are_named() -> None:
    assert named([LeftOut(name, "is empty") for name in "abcdef"]).endswith("e is empty, ...")
    report = ReadingReport(used=9, not_pictures=6, not_pictures_named=tuple("abcde"))
    assert report.lines() == ["left out: 6 files that are not pictures (a, b, c, d, e, ...)"]


def test_the_counts_go_beside_a_figure() -> None:
    report = ReadingReport(used=9, left_out=(LeftOut("a", "b"),), turned=2, classes=3, numeric_order=True)
    assert report.skipped == ("a",)
    assert report.reading(model_classes=10, by_position=True) == Reading(
        used=9, left_out=1, turned=2, classes=3, numeric_order=True, model_classes=10, by_position=True
    )
