"""The training code, on a few tiny drawn pictures: it learns, goes on where it stopped, and exports what it says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "training").is_dir():
    pytest.skip("training/ is not part of this copy", allow_module_level=True)
sys.path.insert(0, str(ROOT))
torch = pytest.importorskip("torch")

from training import augment, data, dedupe, export, teachers, train  # noqa: E402
from training.config import Config  # noqa: E402
from training.student import Student, start_from  # noqa: E402

SMALL = [
    "widths=[4,8,8,12,16]",
    "depths=[1,1,1,1,1]",
    "dim=6",
    "store_side=24",
    "side=16",
    "batch=8",
    "bf16=false",
    "warmup_steps=1",
    "log_steps=1",
]
CALM = ["crop_area=[1,1]", "crop_ratio=1", "rotate_share=0", "pad_share=0", "grey_share=0", "jitter_share=0"]
CALM += ["coarse_share=0", "noise_share=0", "sticker_share=0"]
COUNT = 40


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(teachers, "WIDTH", {"v1": 64, "v2": 80})  # the axes of the real ones, 2304 wide, take 10 CPU s to find
    dice = np.random.default_rng(0)
    labels = [f"c{i % 4}" for i in range(COUNT)]
    pixels = dice.integers(0, 256, (COUNT, 24, 24, 3), np.uint8)
    pixels[:, :, :, 0] = (np.arange(COUNT) % 4 * 60)[:, None, None]  # the class is in the red channel
    usable = np.ones(COUNT, bool)
    usable[5] = False
    data.save(tmp_path, pixels, labels, ["drawn" if i % 2 else "other" for i in range(COUNT)], usable)
    for name, width in teachers.WIDTH.items():
        features = dice.random((COUNT, width)) + 3 * np.eye(width)[np.arange(COUNT) % 4]
        features.astype(np.float16).tofile(tmp_path / f"features-{name}.f16")
    return tmp_path


def open_run(work: Path, name: str = "main", **more: object) -> train.Run:
    options: dict[str, object] = {"init": None, "branch": None, "cooldown": None, "settings": SMALL} | more
    return train.open_run(work, name, **options)  # type: ignore[arg-type]


def weights(run: train.Run) -> list[torch.Tensor]:
    return [*run.student.state_dict().values(), *run.average.state_dict().values(), *run.heads.state_dict().values()]


@pytest.mark.slow
def test_an_interrupted_run_ends_as_one_that_was_not(work: Path) -> None:
    whole = open_run(work, "whole")
    train.train(whole, work / "runs" / "whole", steps=4)
    train.train(open_run(work, "parts"), work / "runs" / "parts", steps=2)
    second = open_run(work, "parts", settings=[])  # the configuration comes from the state
    assert second.step == 2 and second.config == whole.config
    train.train(second, work / "runs" / "parts", steps=4)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    assert len((work / "runs" / "parts" / "log.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_it_learns(work: Path) -> None:
    run = open_run(work, settings=[*SMALL, *CALM, "lr=0.01"])
    losses = [run.advance()[0]["distil"] for _ in range(80)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.slow
def test_a_branch_cools_down_and_leaves_its_origin_alone(work: Path) -> None:
    train.train(open_run(work), work / "runs" / "main", steps=2)
    before = (work / "runs" / "main" / "last.pt").read_bytes()
    final = open_run(work, "final", branch="main", cooldown=3, settings=["side=32"])
    assert (final.step, final.cooldown, final.config.side) == (2, (2, 3), 32)
    rates = [final.rate(step) for step in (2, 3, 4)]
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(final.config.lr * final.config.min_lr_share)
    train.train(final, work / "runs" / "final")
    assert final.step == 5  # ends by itself
    again = open_run(work, "final", branch="main", cooldown=3, settings=[])
    assert (again.step, again.cooldown) == (5, (2, 3))  # its own state counts, not the branch's
    assert (work / "runs" / "main" / "last.pt").read_bytes() == before


@pytest.mark.slow
def test_two_processes_share_each_step(work: Path) -> None:
    run = open_run(work, "pair")
    train.train_together(run, work, "pair", 2, steps=3)
    assert run.step == 3
    # One process that sees both halves and averages their gradients gets the same student.
    alone = open_run(work, "alone")
    crews = [train.Crew(2, place, torch.empty(0), None) for place in (0, 1)]
    for _ in range(3):
        parts = []
        for alone.crew in reversed(crews):  # the first process's last: its view sets the running statistics' last word
            alone.optimiser.zero_grad(set_to_none=True)
            alone.total(alone.losses(*alone.batch(alone.step))).backward()
            parts.append([p.grad.clone() if p.grad is not None else torch.zeros_like(p) for p in alone.parameters()])
        for parameter, a, b in zip(alone.parameters(), *parts, strict=True):
            parameter.grad = (a + b) / 2
        torch.nn.utils.clip_grad_norm_(alone.parameters(), alone.config.clip)
        for group in alone.optimiser.param_groups:
            group["lr"] = alone.rate(alone.step)
        alone.optimiser.step()
        alone.step += 1
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(run.parameters(), alone.parameters(), strict=True))


@pytest.mark.slow
def test_left_out_pictures_are_never_drawn(work: Path) -> None:
    run = open_run(work)
    drawn = {int(row) for step in range(60) for row in run.batch(step)[0]}
    assert 5 not in drawn and len(drawn) == COUNT - 1


def test_a_flock_is_a_picture_twice_and_some_of_its_neighbours(work: Path) -> None:
    run = open_run(work, settings=[*SMALL, "flock=4", "neighbours=5"])
    assert run.neighbours is not None
    alike = run.targets @ run.targets.T
    alike.fill_diagonal_(-2.0)
    alike[:, 5] = -2.0  # the unusable one
    assert run.neighbours.sort(1).values.equal(alike.topk(5).indices.sort(1).values)
    for step in range(20):
        rows, views = run.batch(step)
        assert len(rows) == len(views) == 8 and 5 not in rows.tolist()
        for first, again, *near in rows.reshape(-1, 4).tolist():
            assert first == again and len(set(near)) == 2 and set(near) <= set(run.neighbours[first].tolist())
    losses = run.losses(rows, views)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_view_is_to_find_the_whole_picture_it_was_made_from(work: Path) -> None:
    run = open_run(work, settings=[*SMALL, "flock=4", "neighbours=5", "anchors=true", "pair_weight=1"])
    rows, views = run.batch(3)
    assert views[::4].equal(augment.whole(run.pixels[rows[::4]], run.config.side))
    assert not views[1::4].equal(views[::4])
    assert run.losses(rows, views)["pair"] > 0
    run.student = torch.nn.Identity()  # type: ignore[assignment]
    apart = torch.eye(4).repeat_interleave(2, 0)  # (8, 4): each picture like its own other view, its neighbours alike among themselves
    assert float(run.losses(rows, torch.nn.functional.pad(apart, (0, run.config.dim - 4)))["pair"]) < 1e-6
    swapped = apart[[2, 1, 0, 3, 4, 5, 6, 7]]  # the whole picture looks like a neighbour
    assert float(run.losses(rows, torch.nn.functional.pad(swapped, (0, run.config.dim - 4)))["pair"]) > 5


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(SystemExit, match="sides"):
        train.changed(Config(), ["sides=3"])


def randomised(config: Config) -> Student:
    """A student whose normalisation is not the identity anywhere."""
    torch.manual_seed(1)
    student = Student(config)
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                torch.nn.init.normal_(values, std=0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return student.eval()


@pytest.mark.parametrize("size", [(32, 32), (96, 96), (70, 45)])
def test_export_gives_what_the_student_gives(tmp_path: Path, size: tuple[int, int]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    student = randomised(train.changed(Config(), SMALL))
    export.export(student, tmp_path / "m.onnx")
    run = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).random((3, 3, *size), np.float32)
    embedding, patches = run.run(["embedding", "patches"], {"pixels": pixels})
    assert embedding.shape == (3, 6) and patches.shape == (3, -(-size[0] // 16), -(-size[1] // 16), 6)
    assert embedding.dtype == patches.dtype == np.float32
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    mean = patches.mean(axis=(1, 2))
    assert mean / np.linalg.norm(mean, axis=1, keepdims=True) == pytest.approx(embedding, abs=1e-5)
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(student(torch.from_numpy(pixels)), dim=1).numpy()
    assert (embedding * wanted).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-4)  # float16 weights


def test_export_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    student = randomised(train.changed(Config(), SMALL))
    export.export(student, tmp_path / "a.onnx")
    export.export(student, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_start_from_a_shipped_model(tmp_path: Path) -> None:
    config = train.changed(Config(), SMALL)
    donor = randomised(config)
    export.export(donor, tmp_path / "m.onnx")
    torch.manual_seed(2)
    student = Student(config)
    pixels = torch.rand(64, 3, 32, 32)
    start_from(student, tmp_path / "m.onnx", pixels)
    with torch.no_grad():
        got, wanted = student.train().features(pixels), donor.features(pixels)
    assert float(torch.nn.functional.cosine_similarity(got.flatten(1), wanted.flatten(1)).min()) > 0.999


def test_target_space() -> None:
    dice = np.random.default_rng(0)
    features = (dice.normal(size=(500, 20)) * np.linspace(3, 0.1, 20) + 5).astype(np.float32)
    raw = (features - features.mean(0)) @ teachers.fit_target(features, 20, whiten=0.0).basis
    half = (features - features.mean(0)) @ teachers.fit_target(features, 20).basis
    assert half.std(0) == pytest.approx(np.sqrt(raw.std(0)), rel=1e-2)  # spread s becomes its root
    assert np.linalg.norm(teachers.fit_target(features, 8)(features), axis=1) == pytest.approx(np.ones(500), abs=1e-5)


def test_views() -> None:
    config = replace(Config(), side=32)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 24, 24, 3), np.uint8))
    one, same, other = (augment.views(pictures, 32, config, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (64, 3, 32, 32) and float(one.min()) >= 0 and float(one.max()) <= 1
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(augment.whole(pictures, 24), pictures.permute(0, 3, 1, 2).float() / 255)


def test_calm_views_are_the_picture() -> None:
    config = train.changed(Config(), CALM)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 24, 24, 3), np.uint8))
    plain = augment.whole(pictures, 24)
    seen = augment.views(pictures, 24, config, torch.Generator().manual_seed(0))
    distance = torch.minimum((seen - plain).abs().amax((1, 2, 3)), (seen - plain.flip(3)).abs().amax((1, 2, 3)))
    assert float(distance.max()) < 1e-3  # mirrored or not


def test_blocks_keep_a_smooth_picture() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32).contiguous()
    assert float((augment._block(ramp, 1.0) - ramp).abs().mean()) < 0.03
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float((augment._block(noise, 0.0) - noise).abs().mean()) > 0.1


def test_perceptual_hash_finds_the_small_copy() -> None:
    from PIL import Image

    dice = np.random.default_rng(0)
    pictures = [Image.fromarray(dice.integers(0, 256, (6, 6, 3), np.uint8)).resize((90, 90), Image.Resampling.BICUBIC) for _ in range(20)]
    small = [picture.resize((50, 50)) for picture in pictures[:3]]
    left, right = (dedupe.hashes(np.stack([dedupe.grey(np.asarray(p)) for p in group])) for group in (pictures, small))
    assert dedupe.near(left, right).tolist() == [[0, 0], [1, 1], [2, 2]]
