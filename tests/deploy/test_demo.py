"""The demo page: what is in it, and that a real browser prepares a picture as infer.py does."""

import base64
import gzip
import importlib.util
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from deploy_nas.adapters.targets.browser import find_web_runtime
from deploy_nas.core.errors import DeployNASError
from deploy_nas.deploy.demo import make_demo

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


class Web:
    version = "1.99.0"

    def read(self, name):
        return b"content of " + name.encode()


def model(labels=("a", "b")):
    prepared = SimpleNamespace(
        image_size=8, to_json=lambda: {"image_size": 8, "mean": MEAN, "std": STD, "layout": "NCHW"}
    )
    said = SimpleNamespace(
        space=SimpleNamespace(id="s"),
        precision="fp32",
        labels=labels,
        certificate=None,
        trained=False,
        prepared_as=lambda subject: prepared,
    )
    return SimpleNamespace(metadata=said, subject="m.onnx", sha256="0" * 64, data=identity())


def identity():
    """A network whose logits are two of its inputs."""
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 192])
    node = helper.make_node("Flatten", ["image"], ["logits"])
    graph = helper.make_graph([node], "identity", [image], [logits])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def part(page, name):
    found = re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    return found[1]


def test_everything_is_in_one_file():
    page = make_demo(model(), Web()).decode()
    assert page == make_demo(model(), Web()).decode()
    assert not re.search(r"(src|href)=", page)
    assert gzip.decompress(base64.b64decode(part(page, "model"))) == identity()
    assert gzip.decompress(base64.b64decode(part(page, "wasm"))) == b"content of ort-wasm-simd-threaded.wasm"
    said = json.loads(part(page, "facts"))
    assert said["labels"] == ["a", "b"] and said["preprocessing"]["mean"] == MEAN
    assert "weights are random" in said["about"]


def test_labels_cannot_end_the_script_or_take_a_place():
    labels = ("</script><script>alert(1)", "{model}", "{library}")
    page = make_demo(model(labels), Web()).decode()
    assert "alert(1)</script>" not in page and "</script><script>" not in page
    assert json.loads(part(page, "facts"))["labels"] == list(labels)


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """The function of infer.py."""
    folder = tmp_path_factory.mktemp("bundle")
    how = {"image_size": 8, "mean": MEAN, "std": STD}
    (folder / "manifest.json").write_text(json.dumps({"preprocessing": how, "labels": [], "models": [{}]}))
    source = Path(importlib.util.find_spec("deploy_nas").origin).with_name("data") / "infer.py.in"
    program = source.read_text(encoding="utf-8").split("sys.argv[1:] or")[0]
    names = {"__file__": str(folder / "infer.py"), "__name__": "infer"}
    exec(compile(program, "infer.py", "exec"), names)  # noqa: S102
    return names["prepare"]


def pictures():
    """Of every kind that tells: both ways of resizing, transparency, EXIF, palettes, grey."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize(
        (130, 91), Image.Resampling.BICUBIC
    )
    clear = noise.convert("RGBA")
    clear.putalpha(Image.fromarray(rng.integers(0, 256, (91, 130), np.uint8)))
    turned = Image.Exif()
    turned[0x112] = 6
    yield "png", noise, {}
    yield "jpeg", noise, {"quality": 90}
    yield "jpeg", noise, {"quality": 90, "exif": turned}
    yield "png", clear, {}
    yield "png", noise.resize((5, 7)), {}
    yield "png", noise.quantize(30), {}
    yield "png", noise.convert("L"), {}


_CLASSIFY = """const [coded, type, done] = arguments;
const bytes = Uint8Array.from(atob(coded), (letter) => letter.charCodeAt(0));
globalThis.demo.classify(new File([bytes], "picture", { type })).then(
  (found) => done({ values: Array.from(found.values), logits: Array.from(found.logits), ms: found.ms }),
  (error) => done({ error: String(error) }));"""


@pytest.mark.slow
def test_a_browser_prepares_pictures_as_infer_does(browser, prepare, tmp_path):
    try:
        web = find_web_runtime(Path(__file__).parent)
    except DeployNASError as error:
        pytest.skip(str(error))
    page = tmp_path / "demo.html"
    page.write_bytes(make_demo(model(), web))
    browser.get(page.as_uri())
    browser.set_script_timeout(60)
    browser.execute_async_script(
        "const [done] = arguments;const look = () => globalThis.demo ? done() : setTimeout(look, 50); look();"
    )
    for number, (kind, picture, how) in enumerate(pictures()):
        held = io.BytesIO()
        picture.save(held, kind, **how)
        path = tmp_path / f"{number}.{kind}"
        path.write_bytes(held.getvalue())
        coded = base64.b64encode(held.getvalue()).decode()
        found = browser.execute_async_script(_CLASSIFY, coded, f"image/{kind}")
        expected = prepare(path)
        levels = np.abs(np.array(found["values"]).reshape(expected.shape) - expected) * np.max(STD) * 255
        assert levels.max() < 0.01, f"{kind} {how}"
        assert np.allclose(found["logits"], found["values"]) and found["ms"] >= 0.0
    assert browser.find_elements("css selector", "#answers tr")
    odd = browser.execute_async_script(_CLASSIFY, base64.b64encode(b"no picture").decode(), "image/png")
    assert "error" in odd
