from deploy_nas.cli import show


def test_a_log_has_a_line_a_minute_with_the_time_left(capsys):
    now_s = [0.0]
    update = show._LogLines("measuring", clock=lambda: now_s[0])
    for done in range(1, 6):
        now_s[0] += 40.0
        update(done, 10, f"{done}.00%")
    assert capsys.readouterr().err.splitlines() == [
        "measuring 2.00%: 2/10, 320 s left",
        "measuring 4.00%: 4/10, 240 s left",
    ]


def test_another_stage_is_timed_by_its_own_steps(capsys):
    now_s = [0.0]
    update = show._LogLines("searching", clock=lambda: now_s[0])
    for done, total in ((1, 100), (100, 100), (1, 4), (2, 4)):
        now_s[0] += 100.0 if total == 4 else 1.0
        update(done, total)
    assert capsys.readouterr().err.splitlines()[-1] == "searching: 2/4, 200 s left"


def test_a_first_step_says_no_time(capsys):
    now_s = [0.0]
    update = show._LogLines("measuring", clock=lambda: now_s[0])
    now_s[0] = 100.0
    update(1, 10)
    assert capsys.readouterr().err == "measuring: 1/10\n"
