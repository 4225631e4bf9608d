"""Contracts of the ports: test classes that every implementation must pass, here and in other packages.

A test module subclasses one and overrides the method that makes the implementation::

    from deploy_nas.testing.pools import PoolContract

    class TestMyPool(PoolContract):
        def make(self):
            return MyPool()

Needs pytest (``pip install deploy-nas[testing]``); nothing else in deploy_nas imports this package.
"""

import pytest

# A failed assert of a contract then shows its values.
pytest.register_assert_rewrite(*(f"{__name__}.{port}" for port in ("pools", "runtime", "space", "targets")))
