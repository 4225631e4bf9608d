"""What notebooks show of results."""

from deploy_nas.core.predicted import Predicted
from deploy_nas.core.spaces import embedded_space
from deploy_nas.records.architecture import ArchitectureRecord
from deploy_nas.report.inline import architecture_line, front_picture, page_inline, subnets_table

SPACE = embedded_space()


def record(ms, accuracy):
    predicted = Predicted(latency_ms=ms, bound_ms=1.1 * ms, accuracy=accuracy, accuracy_unit="percent")
    return ArchitectureRecord(space=SPACE, architecture=SPACE.smallest(24), predicted=predicted)


def test_a_line_a_row_and_a_point_each():
    records = [record(1.0, 80.0), record(2.0, 85.0)]
    assert architecture_line(records[0]) == (
        "ofa-mbv3-cifar10, 24 px, 1 ms, top-1 80.00%, at most 1.1 ms by its bound"
    )
    assert subnets_table(records).count("<tr>") == 3
    picture = front_picture(records)
    assert picture.count("<circle") == 2 and "<script" not in picture
    assert front_picture(records[:1]).count("<circle") == 1


def test_a_page_is_text_within_another():
    assert page_inline('<a b="c">').startswith('<iframe srcdoc="&lt;a b=&quot;c&quot;&gt;"')
