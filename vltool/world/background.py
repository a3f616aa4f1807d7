"""The eight backgrounds of the generated world: muted, textured, and unlike every colour of the shapes."""

from collections.abc import Callable

import numpy as np
from PIL import Image

Paint = Callable[[np.random.Generator, int, int], np.ndarray]


def paint_background(name: str, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """The named background, (height, width, 3) float32 in [0, 255]."""
    return _PAINTS[name](rng, width, height)


def smooth_noise(rng: np.random.Generator, width: int, height: int, cell_x: float, cell_y: float) -> np.ndarray:
    """Noise whose spots are about cell_x by cell_y pixels: (height, width) float32, about [-1, 1]."""
    grid = rng.uniform(-1, 1, size=(int(height / cell_y) + 2, int(width / cell_x) + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _rgb(red: float, green: float, blue: float) -> np.ndarray:
    return np.array([red, green, blue], dtype=np.float32)


def _grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return x, y


def _tint(base: tuple[int, int, int], shade: np.ndarray) -> np.ndarray:
    """A colour made lighter and darker: base (3,) times 1 + shade (height, width)."""
    return np.asarray(base, dtype=np.float32) * (1 + shade[..., None].astype(np.float32))


def _wood(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    _, y = _grid(width, height)
    plank = int(rng.integers(44, 64))
    board = np.floor(y / plank).astype(int)
    tones = rng.uniform(-0.09, 0.09, size=board.max() + 1)[board]
    grain = 0.07 * smooth_noise(rng, width, height, 70, 2.5) + 0.04 * smooth_noise(rng, width, height, 24, 1.3)
    gaps = np.where(y % plank < 1.6, -0.38, 0.0)
    return _tint((176, 136, 96), tones + grain + gaps)


def _brick(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _grid(width, height)
    row_height, length, joint = 18, 44, 2.4
    row = np.floor(y / row_height).astype(int)
    shifted = x + (row % 2) * (length / 2) + float(rng.uniform(0, length))
    column = np.floor(shifted / length).astype(int)
    tones = rng.uniform(-0.13, 0.13, size=(row.max() + 1, column.max() + 1))[row, column]
    bricks = _tint((156, 104, 92), tones + 0.05 * smooth_noise(rng, width, height, 3, 3))
    mortar = (y % row_height < joint) | (shifted % length < joint)
    return np.where(mortar[..., None], _rgb(190, 182, 172), bricks)


def _grass(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    blades = 0.13 * smooth_noise(rng, width, height, 1.6, 7) + 0.08 * smooth_noise(rng, width, height, 40, 30)
    return _tint((124, 148, 88), blades)


def _sand(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _grid(width, height)
    bend = 14 * smooth_noise(rng, width, height, 90, 60)
    ripples = 0.045 * np.sin((y + 0.15 * x + bend) / 5.0)
    return _tint((214, 194, 154), ripples + 0.05 * rng.uniform(-1, 1, size=(height, width)))


def _tile(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _grid(width, height)
    side = int(rng.integers(36, 48))
    offset_x, offset_y = rng.uniform(0, side, size=2)
    across, down = (x + offset_x) / side, (y + offset_y) / side
    odd = (np.floor(across) + np.floor(down)) % 2
    joint = (across % 1 < 0.05) | (down % 1 < 0.05)
    tiles = _tint((182, 190, 196), 0.13 * odd - 0.1 + 0.025 * smooth_noise(rng, width, height, 12, 12))
    return np.where(joint[..., None], _rgb(120, 124, 130), tiles)


def _water(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    _, y = _grid(width, height)
    bend = 9 * smooth_noise(rng, width, height, 34, 22)
    waves = 0.1 * np.sin((y + bend) / 3.4) + 0.07 * smooth_noise(rng, width, height, 22, 4)
    return _tint((104, 152, 172), waves)


def _sky(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    _, y = _grid(width, height)
    clouds = smooth_noise(rng, width, height, 80, 38) + 0.5 * smooth_noise(rng, width, height, 30, 16)
    cover = np.clip(clouds * 1.3, 0, 1)[..., None]
    blue = _tint((158, 192, 226), 0.1 * (y / height - 0.5))
    return blue * (1 - cover) + _rgb(236, 238, 242) * cover


def _carpet(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _grid(width, height)
    weave = 0.07 * np.sign(np.sin(x * np.pi / 3) * np.sin(y * np.pi / 3))
    fluff = 0.07 * rng.uniform(-1, 1, size=(height, width)) + 0.05 * smooth_noise(rng, width, height, 30, 30)
    return _tint((150, 128, 144), weave + fluff)


_PAINTS: dict[str, Paint] = {
    "wood": _wood,
    "brick": _brick,
    "grass": _grass,
    "sand": _sand,
    "tile": _tile,
    "water": _water,
    "sky": _sky,
    "carpet": _carpet,
}
