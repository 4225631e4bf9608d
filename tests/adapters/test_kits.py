import ast
import io
import zipfile
from importlib import resources

import pytest

from deploy_nas.adapters import kits
from deploy_nas.adapters.kits import make_kit
from deploy_nas.core.settings import Settings
from deploy_nas.core.spaces import get_space
from deploy_nas.device.kit import KitPlan
from deploy_nas.profiling.plan import make_plan


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_kit_carries_the_plan_and_repeats(precision):
    plan = make_plan(get_space("ofa-mbv3-cifar10"), [24], quick=True, precision=precision)
    data = make_kit(plan, Settings(threads=2))
    assert data == make_kit(plan, Settings(threads=2))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not [n for n in archive.namelist() if n.startswith("/") or ".." in n]
        carried = KitPlan(archive)
        assert carried.id == plan.id and carried.settings == Settings(threads=2)
        assert [[u.id for u in b] for b in carried.blocks] == [[u.id for u in b] for b in plan.blocks]
        assert carried.sentinel == plan.sentinel and carried.blocks[1][0] == plan.blocks[1][0]
        assert carried.model("fit:3") == plan.model("fit:3")
        assert carried.arguments == plan.arguments
        types = {spec.type for spec in carried.sentinel.tensors.values()}
        assert types == ({"float32"} if precision == "fp32" else {"float32", "int8", "int32"})


def test_a_kit_carries_all_that_its_program_imports():
    """Whatever a device file imports of ours is in the kit."""
    held = {name.removesuffix(".py").replace("/", ".") for name in kits._DEVICE_FILES}
    for name in kits._DEVICE_FILES:
        tree = ast.parse(resources.files("deploy_nas").joinpath(name).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deploy_nas."):
                module = node.module.removeprefix("deploy_nas.")
                assert module in held or all(f"{module}.{a.name}" in held for a in node.names), (name, module)
