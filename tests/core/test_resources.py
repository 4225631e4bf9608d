"""Files that a space names."""

from deploy_nas.core.resources import Resource


def test_a_file_of_a_package_and_a_package_that_is_missing() -> None:
    held = Resource(package="deploy_nas", name="py.typed")
    assert held.path is not None and held.path.is_file()
    assert Resource(package="no_such_model", name="w").path is None
    assert Resource(package="no_such.model", name="w").distribution == "no-such"
