"""The fleet's page: charts drawn without a script, and whatever devices say shown as text."""

from deploy_nas.report.fleet import HEIGHT, WIDTH, DeviceShown, Measurement, chart_of, render_fleet


def device(lines, **how):
    said = {"name": "pi", "state": "kept", "fault": "", "at": "2026-01-03T00:00:00+00:00", **how}
    return DeviceShown(lines=lines, **said)


def at(day, ms, limit=2.0, **more):
    return Measurement(at=f"2026-01-0{day}T00:00:00+00:00", measured_ms=ms, limit_ms=limit, **more)


def test_a_line_for_each_model_by_its_share_of_the_promise():
    chart = chart_of(device({"fp32": [at(1, 1.0), at(3, 2.2)], "int8": [at(2, 0.5, 1.0)]}))
    long, short = chart.lines
    assert [dot.x for dot in long.dots] == [0.0, WIDTH] and [dot.x for dot in short.dots] == [WIDTH / 2]
    assert [dot.broken for dot in long.dots] == [False, True]
    assert long.dots[1].y < chart.limit_y < long.dots[0].y == short.dots[0].y < HEIGHT
    assert round(long.change_percent) == 120 and long.last_ms == 2.2
    assert (chart.first, chart.last) == ("2026-01-01", "2026-01-03")


def test_without_a_promise_the_first_time_counts():
    chart = chart_of(device({"m": [at(1, 1.0, None), at(2, 1.1, None)]}))
    assert chart.lines[0].dots[0].y == chart.limit_y


def test_odd_times_are_drawn():
    odd = Measurement(at="yesterday", measured_ms=1.0)
    assert chart_of(device({"m": [odd]})).lines[0].dots[0].x == WIDTH / 2
    assert chart_of(device({})).lines == []


def test_the_page_is_text_and_nothing_else():
    shown = device(
        {"<i>": [at(1, 3.0, fault="busy", speed=0.5)]}, name="<b>", fault="<script>", state="broken"
    )
    page = render_fleet("Fleet <x>", "now", [shown, device({})])
    for hostile in ("<i>", "<b>", "<script>", "<x>"):
        assert hostile not in page
    assert 'class="dot broken"' in page and "unstable: busy" in page and "device at 0.50" in page
    assert "Nothing was verified yet" in render_fleet("t", "s", [])
