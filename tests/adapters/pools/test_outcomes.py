import pytest

from deploy_nas.adapters.pools.outcomes import attempt, value_of
from deploy_nas.core.errors import ImagesError


def test_a_value_comes_back_and_a_fault_is_raised():
    assert value_of(attempt(max, 2, 3)) == 3

    def bad():
        raise ImagesError("is bad")

    with pytest.raises(ImagesError, match="is bad"):
        value_of(attempt(bad))
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process:\n.*ZeroDivisionError"):
        value_of(attempt(divmod, 1, 0))
