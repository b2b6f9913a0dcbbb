"""Training as a GPU does it, on a few drawn pictures and small teachers, on the CPU."""

from __future__ import annotations

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "training").is_dir():
    pytest.skip("training/ is not part of this copy", allow_module_level=True)
sys.path.insert(0, str(ROOT))
torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from training import export, gpu, looks, pack  # noqa: E402
from training.config import Plan, Stage  # noqa: E402
from training.student import Heads  # noqa: E402
from training.teachers import WIDTH  # noqa: E402
from training.teachers_torch import Teacher, colours  # noqa: E402

LABELS = 7
SMALL = {"widths": [4, 8, 8, 12, 16], "depths": [1, 1, 1, 1, 1], "dim": 6, "side": 32, "batch": 16, "neighbours": 3, "bf16": False}
SMALL |= {"grain": 0.0, "warmup_steps": 1}


def teacher(file: Path, width: int, seed: int) -> None:
    """Padding on two sides, a convolution, a bound, a sum, the mean: all that the real ones are made of."""
    dice, helper = np.random.default_rng(seed), onnx.helper
    weights = {"w": dice.normal(size=(width, 3, 3, 3)) / 4, "b": dice.normal(size=width) / 4}
    values = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    values += [onnx.numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "pads")]
    values += [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 6))]
    nodes = [
        helper.make_node("Pad", ["pixels", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "w", "b"], ["c"], kernel_shape=[3, 3], strides=[2, 2], pads=[0] * 4, group=1),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("Add", ["d", "c"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["f"], axes=[2, 3], keepdims=0),
    ]
    ends = [("pixels", ["N", 3, 192, 192]), ("f", None)]
    inputs, outputs = ([helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)] for name, shape in ends)
    graph = helper.make_graph(nodes, "teacher", inputs, outputs, values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(file))


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """Two teachers, the head of one, and two packs of 20 pictures of 4 kinds in two sources."""
    for seed, (name, width) in enumerate(WIDTH.items()):
        teacher(tmp_path / f"mobilenet_{name}_imagenet.onnx", width, seed)
    head = np.random.default_rng(3).normal(size=(LABELS, WIDTH["v2"]))
    np.savez(tmp_path / "mobilenet_v2_imagenet_head.npz", weight=head.astype(np.float16), bias=np.zeros(LABELS, np.float16))
    dice, pictures = np.random.default_rng(0), []
    for number in range(40):
        pixels = dice.integers(0, 256, (24, 24, 3), np.uint8)
        pixels[..., 0] = number % 4 * 60
        Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
        pictures.append((f"source {number % 2}", f"kind {number % 4}", file.getvalue()))
    pack.write(pictures, [sum(len(file) for *_, file in pictures) / 2e6], tmp_path)
    return tmp_path


def lesson(kit: Path) -> gpu.Lesson:
    return gpu.Lesson(Plan("run", SMALL, (Stage(50, {}), Stage(50, {}, cooldown=True)), sources={"source 0": 2.0}), kit, 50)


def test_pictures_come_out_of_a_pack_as_they_went_in(kit: Path) -> None:
    names = json.loads((kit / "names.json").read_text())
    found = []
    with ThreadPoolExecutor(2) as pool:
        for file in sorted(kit.glob("pack-*.npz")):
            pixels, rows = pack.unpack(file, pool)  # type: ignore[arg-type]
            assert pixels.shape == (len(rows), pack.SIDE, pack.SIDE, 3)
            assert [int(one[0, 0, 0]) for one in pixels] == [int(names[row][1][-1]) * 60 for row in rows]
            found += [tuple(names[row]) for row in rows]
    assert sorted(found) == sorted((f"source {number % 2}", f"kind {number % 4}") for number in range(40))


@pytest.mark.slow  # 24 CPU s, for the axes of 2,549 numbers
def test_it_learns_from_packs_that_arrive_one_by_one(kit: Path, tmp_path: Path) -> None:
    run = lesson(kit)
    with ThreadPoolExecutor(1) as pool:
        packs = [pack.unpack(file, pool) for file in sorted(kit.glob("pack-*.npz"))]  # type: ignore[arg-type]
    run.take(*packs[0])
    first = run.count
    rows, views, target, shares = run.batch()
    assert rows.shape == (16,) and views.shape == (16, 3, 32, 32) and target.shape == (16, 6) and shares.shape == (16, LABELS)
    assert int(rows.max()) < first and rows[:4].equal(rows[4:8])
    assert target[4:8].equal(run.target[rows[:4]])  # a changed view is to be what the whole picture is
    assert not target[8:].equal(run.target[rows[8:]])  # and a neighbour's view what itself shows
    for parts in packs[1:]:
        run.take(*parts)
    assert run.count == 40 and bool(run.met.all())
    assert bool((run.near != torch.arange(40)[:, None]).all())
    before = run.student.project.weight.clone()
    for run.shown in (0.1, 0.4, 0.9):
        assert all(bool(torch.isfinite(loss)) for loss in run.advance().values())
    assert not run.student.project.weight.equal(before)
    run.save(tmp_path / "100.pt")
    student = export.load_student(tmp_path / "100.pt")
    with torch.no_grad():
        wanted = run.average.eval()(views)
        assert torch.allclose(torch.nn.functional.cosine_similarity(student(views), wanted), torch.ones(16), atol=1e-3)


def test_a_teacher_says_what_its_file_says(kit: Path) -> None:
    file = kit / "mobilenet_v1_imagenet.onnx"
    pixels = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    onnxruntime = pytest.importorskip("onnxruntime")
    wanted = onnxruntime.InferenceSession(str(file)).run(None, {"pixels": pixels.numpy()})[0]
    assert np.allclose(Teacher(file)(pixels).numpy(), wanted, atol=1e-4)


def test_colours_are_those_of_looks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, looks.SIDE, looks.SIDE, 3), np.uint8)
    found = colours(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(looks.TO_XYZ)).numpy()
    assert np.allclose(found, looks.colours(pixels), atol=1e-4)


def test_labels_are_compared_within_their_source() -> None:
    names = [("a", "x"), ("a", "y"), ("b", "only"), ("c", "x"), ("c", "y"), ("c", "z")]
    ours, theirs = gpu.Heads(names, 5, 2), Heads([2, 1, 3], 5, 2)
    for weight, rows in zip(theirs.weights, (slice(0, 2), slice(2, 3), slice(3, 6)), strict=True):
        weight.data.copy_(ours.weight.data[rows])
    unit = torch.nn.functional.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    own, sources, labels = torch.tensor([1, 2, 3, 5]), torch.tensor([0, 1, 2, 2]), torch.tensor([1, 0, 0, 2])
    assert float(ours.label_loss(unit, own, 16.0, 0.1)) == pytest.approx(float(theirs.loss(unit, labels, sources, 16.0, 0.1)), rel=1e-5)
