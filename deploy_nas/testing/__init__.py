"""Contracts of the ports: test classes that every implementation must pass, ours and other people's.

A test module subclasses one and says what to test::

    from deploy_nas.testing.pools import PoolContract

    class TestMyPool(PoolContract):
        def make(self):
            return MyPool()

Needs pytest (``pip install deploy-nas[testing]``); nothing else in deploy_nas imports this package.
"""

import pytest

# So that a failed assert of a contract shows its values.
pytest.register_assert_rewrite(*(f"{__name__}.{port}" for port in ("pools", "runtime", "space", "targets")))
