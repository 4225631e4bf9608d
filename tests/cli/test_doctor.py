"""``deploy-nas doctor``: the findings as a table, or as JSON."""

import json

from deploy_nas.workflows import doctor
from deploy_nas.workflows.doctor import Finding

FOUND = [
    Finding(what="load", value="1.50", advice="stop other work"),
    Finding(what="cpu", value="x", advice="ok"),
]


def test_a_row_per_finding(run, stand_in):
    stand_in(doctor, "examine", FOUND)
    head, _, first, second = run("doctor").stdout.splitlines()
    assert head.split() == ["what", "value", "advice"]
    assert first.split(maxsplit=2) == ["load", "1.50", "stop other work"]
    assert second.split() == ["cpu", "x", "ok"]


def test_json(run, stand_in):
    stand_in(doctor, "examine", FOUND)
    assert json.loads(run("doctor", "--json").stdout) == [
        {"what": "load", "value": "1.50", "advice": "stop other work"},
        {"what": "cpu", "value": "x", "advice": "ok"},
    ]
