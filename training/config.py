"""Every number of a training run, in one place. A run keeps its own copy in each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    # student
    widths: tuple[int, ...] = (32, 64, 128, 224, 384)  # channels after each stage; strides 2, 4, 8, 16, 16
    depths: tuple[int, ...] = (1, 1, 2, 2, 1)  # residual blocks a stage
    dim: int = 256  # of the vector

    # samples
    store_side: int = 96  # the training pictures are kept squashed to this side: no more is in most of them
    side: int = 64  # px that the student sees while training; 2.25 times cheaper than 96, and most training pictures are 64 px
    batch: int = 256
    flock: int = 1  # views that enter a batch together, if more than 1: two of a picture drawn by chance, the others of its `neighbours`
    neighbours: int = 32
    anchors: bool = False  # the first view of each flock is the whole picture unchanged, as a library holds it
    crop_area: tuple[float, float] = (0.4, 1.0)
    crop_ratio: float = 4 / 3  # how much a crop may be squashed, either way
    whole_share: float = 0.35  # of the samples are not cropped: that is what the shipped model sees
    rotate_share: float = 0.35
    rotate_degrees: float = 30.0
    pad_share: float = 0.1  # of the samples are zoomed out, the border filled with one colour
    grey_share: float = 0.2
    jitter_share: float = 0.5
    coarse_share: float = 0.2  # of the samples lose detail: blurred, reduced and enlarged again, or blocky as strong JPEG
    noise_share: float = 0.1
    sticker_share: float = 0.15  # boxes or lines of letter-like marks laid over

    # loss
    # Weights: larger ones for labels or relations (.5 and 1 against a distil_weight of 4) made a fresh run's vectors leave the teachers'.
    distil_weight: float = 10.0  # 1 - cosine to the teachers' joined vector
    label_weight: float = 0.5  # cosine softmax, one a source
    relation_weight: float = 0.5  # differences between the two similarity matrices inside a batch
    contrast_weight: float = 0.5  # each view is to find its own picture's target among the batch's
    pair_weight: float = 0.0  # the second view of a flock is to find the first among all views of the batch; needs a flock
    label_scale: float = 16.0
    label_smoothing: float = 0.1

    # optimiser
    muon: bool = True  # for the 3 x 3 kernels (Jordan et al. 2024); AdamW for the rest, and for all where false
    lr: float = 1.1e-3  # 3e-4 to 6e-4 for the first 1,300 steps: more tore apart what the start brings
    min_lr_share: float = 0.01  # what the cooldown ends at, of lr
    warmup_steps: int = 300
    weight_decay: float = 0.05
    clip: float = 5.0  # gradient norm
    ema_decay: float = 0.998
    bf16: bool = True  # convolutions only; twice as fast on a CPU that has it, and on a GPU

    seed: int = 7
    checkpoint_seconds: float = 180.0
    log_steps: int = 50
