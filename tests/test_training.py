"""The training code, on a few tiny drawn pictures: it learns, goes on where it stopped, and exports what it says."""

from __future__ import annotations

import importlib
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

from training import augment, data, dedupe, export, looks, prepare, teachers, train  # noqa: E402
from training.average import mean  # noqa: E402
from training.config import Config, Plan, Stage, changed, read  # noqa: E402
from training.student import Student, start_from  # noqa: E402

SMALL = {
    "widths": [4, 8, 8, 12, 16],
    "depths": [1, 1, 1, 1, 1],
    "dim": 6,
    "store_side": 24,
    "side": 16,
    "batch": 8,
    "neighbours": 5,
    "bf16": False,
    "warmup_steps": 1,
    "log_steps": 1,
}
CALM = {"crop_area": [1, 1], "inner_area": [1, 1], "crop_ratio": 1, "rotate_share": 0, "pad_share": 0, "grey_share": 0, "jitter_share": 0}
CALM |= {"coarse_share": 0, "noise_share": 0, "sticker_share": 0}
COUNT, PARTS = 40, 10  # pictures, and how many of them have a part that the teachers looked at


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def lay_down(work: Path, name: str, source: str, seed: int) -> None:
    """One part of 20 pictures, of 4 classes told by their red channel; each second one of the first 10 has a crop of its own."""
    dice = np.random.default_rng(seed)
    count = COUNT // 2
    kinds = np.arange(count) % 4
    pixels = dice.integers(0, 256, (count, 24, 24, 3), np.uint8)
    pixels[:, :, :, 0] = (kinds * 60)[:, None, None]
    owners = np.array([*range(count), *range(0, PARTS, 2)])
    boxes = np.array([(0, 0, 1, 1)] * count + [(0.25, 0.5, 0.75, 1)] * (PARTS // 2), np.float32)
    crops: dict[str, np.ndarray] = {"pictures": owners, "boxes": boxes}  # type: ignore[type-arg]
    for kind, width in data.FEATURES.items():
        crops[kind] = dice.random((len(owners), width)) + 20 * np.eye(width)[kinds[owners]]
    data.save(work / "parts" / name, pixels, [(source, f"c{kind}") for kind in kinds], crops)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    lay_down(tmp_path, "a", "drawn", 0)
    lay_down(tmp_path, "b", "other", 1)
    (tmp_path / "left-out.json").write_text('[["a", 5]]')
    weight = np.random.default_rng(2).normal(size=(50, 1280)).astype(np.float16)
    np.savez(tmp_path / "head.npz", weight=weight, bias=np.zeros(50, np.float32))
    return tmp_path


def plan(name: str = "main", *stages: Stage, settings: dict[str, object] | None = None, **more: object) -> Plan:
    return Plan(name, SMALL | (settings or {}), stages or (Stage(1000, {}),), **more)  # type: ignore[arg-type]


def open_run(work: Path, name: str = "main", *stages: Stage, **more: object) -> train.Run:
    return train.open_run(work, plan(name, *stages, **more))  # type: ignore[arg-type]


def weights(run: train.Run) -> list[torch.Tensor]:
    return [*run.student.state_dict().values(), *run.average.state_dict().values(), *run.heads.state_dict().values()]


@pytest.mark.slow
def test_an_interrupted_run_ends_as_one_that_was_not(work: Path) -> None:
    whole = open_run(work, "whole")
    train.train(whole, work / "runs" / "whole", steps=4)
    train.train(open_run(work, "parts"), work / "runs" / "parts", steps=2)
    second = open_run(work, "parts")
    assert second.step == 2
    train.train(second, work / "runs" / "parts", steps=4)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    assert len((work / "runs" / "parts" / "log.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_it_learns(work: Path) -> None:
    alone = {f"{name}_weight": 0.0 for name in ("soft", "label", "relation", "contrast", "pair")}
    run = open_run(work, settings=CALM | alone | {"lr": 0.01})
    losses = [run.advance()[0]["distil"] for _ in range(200)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


@pytest.mark.slow
def test_a_branch_cools_down_and_leaves_its_origin_alone(work: Path) -> None:
    train.train(open_run(work), work / "runs" / "main", steps=2)
    before = (work / "runs" / "main" / "last.pt").read_bytes()
    stages = Stage(1, {"side": 32}), Stage(3, {"side": 32}, cooldown=True)
    final = open_run(work, "final", *stages, branch="main")
    assert (final.step, final.config.side) == (0, 32)
    assert not all(torch.equal(a, b) for a, b in zip(weights(final), weights(open_run(work, "fresh")), strict=True))
    rates = [final.rate(step) for step in range(4)]
    assert rates[0] == final.config.lr
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(final.config.lr * final.config.min_lr_share)
    train.train(final, work / "runs" / "final")
    assert final.step == 4  # ends by itself
    again = open_run(work, "final", *stages, branch="main")
    assert again.step == 4  # its own state counts, not the branch's
    assert (work / "runs" / "main" / "last.pt").read_bytes() == before


@pytest.mark.slow
def test_what_was_prepared_meanwhile_is_taken_in(work: Path) -> None:
    run = open_run(work)
    train.train(run, work / "runs" / "main", steps=2)
    space = (work / "target.npz").read_bytes()
    lay_down(work, "Z", "also", 3)
    more = open_run(work)
    assert more.step == 2 and len(more.pictures) == 60 and len(more.targets) == 60 + 3 * PARTS // 2
    assert (work / "target.npz").read_bytes() == space
    known = {source: weight for (source, _), weight in zip(more.pictures.names, more.heads.weights, strict=True)}
    for (source, _), weight in zip(run.pictures.names, run.heads.weights, strict=True):
        assert torch.equal(known[source], weight)
    more.advance()


@pytest.mark.slow
def test_two_processes_share_each_step(work: Path) -> None:
    run = open_run(work, "pair")
    train.train_together(run, work, 2, steps=3)
    assert run.step == 3
    # One process that sees both halves and averages their gradients gets the same student.
    alone = open_run(work, "alone")
    crews = [train.Crew(2, place, torch.empty(0), None) for place in (0, 1)]
    for _ in range(3):
        parts = []
        for alone.crew in reversed(crews):  # the first process's last: its view sets the running statistics' last word
            for parameter in alone.parameters():
                parameter.grad = None
            alone.total(alone.losses(*alone.batch(alone.step))).backward()
            parts.append([p.grad.clone() if p.grad is not None else torch.zeros_like(p) for p in alone.parameters()])
        alone.crew = None
        alone.update([(a + b) / 2 for a, b in zip(*parts, strict=True)])
    gaps = [float((a - b).abs().max()) for a, b in zip(run.parameters(), alone.parameters(), strict=True)]
    assert max(gaps) < 1e-4  # a tenth of one step of AdamW: rounding


@pytest.mark.slow
def test_left_out_pictures_are_never_drawn(work: Path) -> None:
    run = open_run(work)
    drawn = {int(row) for step in range(60) for row in run.batch(step)[0]}
    assert 5 not in drawn and len(drawn) == COUNT - 1


def test_held_out_sources_are_not_there(work: Path) -> None:
    run = open_run(work, held_out=("other",))
    assert [source for source, _ in run.pictures.names] == ["drawn"] and len(run.pictures) == COUNT // 2


def test_a_flock_is_a_picture_twice_and_some_of_its_neighbours(work: Path) -> None:
    run = open_run(work, settings={"part_share": 1.0})
    alike = (run.targets[:COUNT].bfloat16() @ run.targets[:COUNT].bfloat16().T).float()
    alike.fill_diagonal_(-2.0)
    alike[:, 5] = -2.0  # left out
    best = alike.topk(5).values
    assert alike.gather(1, run.known.neighbours).sort(1, descending=True).values.equal(best)
    inner = 0
    for step in range(20):
        rows, crops, views = run.batch(step)
        assert len(rows) == len(crops) == len(views) == 8 and 5 not in rows.tolist()
        for first, again, *near in rows.reshape(-1, 4).tolist():
            assert first == again and len(set(near)) == 2 and set(near) <= set(run.known.neighbours[first].tolist())
        assert run.pictures.owners[crops.numpy()].tolist() == rows.tolist()
        part = crops >= COUNT
        assert not part.reshape(-1, 4)[:, :2].any()
        assert (run.parts[rows[part]] == 1).all() and (run.parts[rows.reshape(-1, 4)[:, 2:][~part.reshape(-1, 4)[:, 2:]]] == 0).all()
        inner += int(part.sum())
    assert inner > 5
    losses = run.losses(rows, crops, views)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_view_is_to_find_the_whole_picture_it_was_made_from(work: Path) -> None:
    run = open_run(work)
    rows, crops, views = run.batch(3)
    assert views[::4].equal(augment.whole(run.pixels(rows[::4]), run.config.side))
    assert not views[1::4].equal(views[::4])
    assert run.losses(rows, crops, views)["pair"] > 0
    run.student = torch.nn.Identity()  # type: ignore[assignment]
    apart = torch.eye(4).repeat_interleave(2, 0)  # (8, 4): each picture like its own other view, its neighbours alike among themselves
    assert float(run.losses(rows, crops, torch.nn.functional.pad(apart, (0, run.config.dim - 4)))["pair"]) < 1e-6
    swapped = apart[[2, 1, 0, 3, 4, 5, 6, 7]]  # the whole picture looks like a neighbour
    assert float(run.losses(rows, crops, torch.nn.functional.pad(swapped, (0, run.config.dim - 4)))["pair"]) > 5


@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "training").glob("[!_]*.py")))
def test_every_file_finds_what_it_imports(module: str) -> None:
    importlib.import_module(f"training.{module}")


def test_every_run_in_the_repository_can_be_read() -> None:
    files = sorted((ROOT / "training" / "runs").glob("*.toml"))
    assert files
    for file in files:
        found = read(file)
        assert found.steps > 0 and bool(found.init) != bool(found.branch)


def test_stages_follow_each_other() -> None:
    found = Plan("x", {"batch": 8}, (Stage(10, {"side": 48}), Stage(5, {"side": 96}, cooldown=True)))
    seen = [(found.at(step)[0].side, found.at(step)[1]) for step in (0, 9, 10, 14, 15, 99)]
    assert seen == [(48, None), (48, None), *[(96, (10, 5))] * 4]
    assert found.steps == 15 and found.at(0)[0].batch == 8


def test_stages_share_a_cooldown() -> None:
    found = Plan("x", {}, (Stage(10, {}), Stage(5, {"side": 80}, cooldown=True), Stage(3, {"side": 96}, cooldown=True)))
    assert [(found.at(step)[0].side, found.at(step)[1]) for step in (9, 10, 15, 17)] == [
        (64, None),
        (80, (10, 8)),
        (96, (10, 8)),
        (96, (10, 8)),
    ]


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(SystemExit, match="sides"):
        changed(Config(), {"sides": 3})


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
    student = randomised(changed(Config(), SMALL))
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
    student = randomised(changed(Config(), SMALL))
    export.export(student, tmp_path / "a.onnx")
    export.export(student, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_start_from_a_shipped_model(tmp_path: Path) -> None:
    config = changed(Config(), SMALL)
    donor = randomised(config)
    export.export(donor, tmp_path / "m.onnx")
    torch.manual_seed(2)
    student = Student(config)
    pixels = torch.rand(64, 3, 32, 32)
    start_from(student, tmp_path / "m.onnx", pixels)
    with torch.no_grad():
        got, wanted = student.train().features(pixels), donor.features(pixels)
    assert float(torch.nn.functional.cosine_similarity(got.flatten(1), wanted.flatten(1)).min()) > 0.999


def test_a_deeper_student_starts_as_the_model_does(tmp_path: Path) -> None:
    donor = randomised(changed(Config(), SMALL))
    export.export(donor, tmp_path / "m.onnx")
    torch.manual_seed(2)
    student = Student(changed(Config(), SMALL | {"depths": [1, 1, 2, 3, 1]}))
    pixels = torch.rand(64, 3, 32, 32)
    start_from(student, tmp_path / "m.onnx", pixels)
    with torch.no_grad():
        got, wanted = student.train().features(pixels), donor.features(pixels)
    assert float(torch.nn.functional.cosine_similarity(got.flatten(1), wanted.flatten(1)).min()) > 0.999


def test_target_space() -> None:
    dice = np.random.default_rng(0)
    rows = dice.normal(size=(500, 20)) * np.linspace(3, 0.1, 20) @ np.linalg.qr(dice.normal(size=(20, 20)))[0]
    covariance = np.cov(rows.T, bias=True).astype(np.float32)
    values, axes = teachers.principal(covariance, 8)
    assert values == pytest.approx(np.linalg.eigvalsh(covariance)[::-1][:8], rel=1e-3)
    assert ((rows - rows.mean(0)) @ axes).var(0) == pytest.approx(values, rel=1e-3)
    features = {kind: dice.random((300, width)) * np.geomspace(9, 0.01, width) for kind, width in data.FEATURES.items()}
    target = teachers.fit_target(features, 8, 0.5, 0.25)
    raw = (target.joined(features) - target.mean) @ target.basis
    joined = target.joined(features)
    axes = teachers.principal(np.cov(joined.T, bias=True), 8)[1]
    assert raw.std(0) == pytest.approx(np.sqrt((joined @ axes).std(0)), rel=1e-2)  # spread s becomes its root
    assert np.linalg.norm(target(features), axis=1) == pytest.approx(np.ones(300), abs=1e-5)
    assert np.square(joined).sum(1) == pytest.approx(np.full(300, 1 + 1 + 0.5**2 + 0.25**2), rel=1e-3)


def test_target_space_is_kept(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    features = {kind: dice.random((50, width)).astype(np.float16) for kind, width in data.FEATURES.items()}
    target = teachers.fit_target(features, 8, 0.5, 0.25)
    target.save(tmp_path / "t.npz")
    assert np.array_equal(teachers.Target.load(tmp_path / "t.npz")(features), target(features))


def test_soft_labels_are_the_likeliest(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    np.savez(tmp_path / "head.npz", weight=dice.normal(size=(60, 1280)).astype(np.float16), bias=np.zeros(60, np.float32))
    features = dice.random((5, 1280)).astype(np.float16)
    soft = teachers.soft_labels(features, tmp_path / "head.npz")
    raw = teachers.logits(features, tmp_path / "head.npz")
    assert soft.shares.sum(1) == pytest.approx(np.ones(5))
    for row in range(5):
        assert set(soft.labels[row]) == set(np.argsort(raw[row])[-teachers.TOP :])
        assert soft.labels[row][soft.shares[row].argmax()] == raw[row].argmax()


def plain(*colours: tuple[int, int, int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([np.full((64, 64, 3), colour, np.uint8) for colour in colours])


def test_colours_tell_red_from_blue_and_little_from_much() -> None:
    assert looks.lab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8)) == pytest.approx(
        np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.2]]), abs=0.1
    )
    found = looks.colours(plain((200, 30, 30), (205, 35, 28), (30, 30, 200), (128, 128, 128)))
    assert found.shape == (4, looks.COLOURS) and np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4), abs=1e-3)
    alike = found @ found.T
    assert alike[0, 1] > 0.9 and alike[0, 2] < 0.1 and alike[0, 3] < 0.3


def test_texture_tells_stripes_by_their_way_and_width() -> None:
    along = np.arange(64)[None, :, None].repeat(64, 0)
    stripes = [np.where(way // width % 2, 255, 0) for way in (along, along.transpose(1, 0, 2)) for width in (1, 2, 8)]
    found = looks.texture(np.stack(stripes).astype(np.uint8).repeat(3, 3))
    assert found.shape == (6, looks.TEXTURE)
    assert found[1, 0] > 1 > found[1, 1]  # across, not down
    assert found[4, 1] > 1 > found[4, 0]
    assert looks.texture(plain((9, 9, 9))) == pytest.approx(np.zeros((1, looks.TEXTURE)))


def test_parts_lie_within_the_picture() -> None:
    dice = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = prepare.part_of(dice, (0.2, 0.7), 4 / 3)
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        assert 0.2 * 0.99 <= (right - left) * (bottom - top) <= 0.7 * 1.01


WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])


def test_views() -> None:
    config = replace(Config(), side=32)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 24, 24, 3), np.uint8))
    boxes = WHOLE.expand(64, 4)
    one, same, other = (augment.views(pictures, boxes, 32, config, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (64, 3, 32, 32) and float(one.min()) >= 0 and float(one.max()) <= 1
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(augment.whole(pictures, 24), pictures.permute(0, 3, 1, 2).float() / 255)


@pytest.mark.parametrize("box", [(0, 0, 24, 24), (6, 12, 18, 24)])
def test_calm_views_are_the_part_that_they_lie_in(box: tuple[int, int, int, int]) -> None:
    config = changed(Config(), CALM)
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 24, 24, 3), np.uint8))
    left, top, right, bottom = box
    plain = augment.whole(pictures, 24)[:, :, top:bottom, left:right]
    seen = augment.views(pictures, (torch.tensor(box) / 24).expand(32, 4), right - left, config, torch.Generator().manual_seed(0))
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


def test_the_mean_of_two_models_lies_between_them() -> None:
    one, other = (Student(Config()) for _ in range(2))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.01
    for name, value in mean([one, other]).state_dict().items():
        torch.testing.assert_close(value.double(), (one.state_dict()[name].double() + other.state_dict()[name].double()) / 2, msg=name)
