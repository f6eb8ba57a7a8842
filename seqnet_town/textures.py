"""Facades: walls with windows, doors, shops and roofs, painted from a style and a seed.

Colors are RGB. The fourth channel ranks windows: 0 is wall, 1 to 255 a pane of glass; at dusk the
panes of the highest ranks are lit.
"""

from dataclasses import dataclass

import cv2
import numpy as np

PIXELS_PER_METRE = 28.0
PROFILE = 128
"""Samples of a wall's outline along its width."""

SHOP_NAMES = (
    'BAKERY', 'CAFE LUNA', 'BOOKS', 'PHARMACY', 'FLOWERS', 'PIZZA', 'HOTEL', 'BANK', 'KIOSK',
    'SHOES', 'OPTIK', 'BAR 21', 'MUSIC', 'BIKES', 'TEA', 'HAIR', 'DELI', 'TOYS', 'SUSHI', 'CINEMA',
    'POST', 'GALLERY', 'TAILOR', 'WINE', 'CAMERA', 'BUTCHER', 'RADIO', 'CLOCKS', 'FISH', 'GYM')
VIVID = ((176, 38, 34), (22, 84, 150), (24, 110, 66), (226, 168, 30), (92, 44, 110), (30, 30, 34),
         (212, 96, 28), (16, 126, 132), (146, 22, 74), (236, 232, 220))


@dataclass(frozen=True)
class Style:
    """Common properties of houses of one kind. Sizes are meters."""

    wall: tuple[int, int, int]
    trim: tuple[int, int, int]
    material: str
    bay: float
    floor_height: float
    window: tuple[float, float]
    ornament: str
    roof: str
    balconies: float = 0.0


STYLES = (
    Style((214, 196, 160), (238, 232, 218), 'plaster', 3.0, 3.2, (1.1, 1.7), 'shutters', 'tiles'),
    Style((150, 74, 56), (226, 220, 206), 'brick', 3.2, 3.1, (1.2, 1.8), 'lintel', 'flat'),
    Style((226, 222, 212), (120, 112, 100), 'plaster', 2.8, 3.0, (1.2, 1.4), 'none', 'gable'),
    Style((176, 172, 164), (206, 204, 198), 'stone', 3.4, 3.5, (1.2, 2.0), 'arch', 'mansard', .15),
    Style((160, 164, 166), (70, 74, 80), 'concrete', 3.6, 3.1, (2.6, 1.5), 'none', 'flat', .4),
    Style((188, 134, 88), (240, 226, 200), 'plaster', 2.9, 3.1, (1.0, 1.6), 'cross', 'stepped'),
    Style((122, 60, 50), (60, 52, 48), 'brick', 2.6, 3.0, (1.0, 1.6), 'arch', 'gable'),
    Style((146, 170, 178), (236, 238, 236), 'plaster', 3.1, 3.0, (1.3, 1.5), 'cross', 'tiles', .2),
    Style((96, 112, 122), (52, 60, 66), 'glass', 3.0, 3.4, (2.7, 2.5), 'none', 'flat'),
    Style((206, 150, 136), (246, 238, 226), 'plaster', 2.7, 3.3, (1.0, 1.9), 'shutters', 'mansard'),
    Style((126, 132, 104), (226, 222, 200), 'plaster', 3.3, 2.9, (1.4, 1.4), 'lintel', 'tiles', .3),
    Style((198, 186, 150), (150, 128, 92), 'stone', 3.0, 3.2, (1.1, 1.7), 'lintel', 'flat', .1),
)
_ROOF_HEIGHT = {'flat': 0.5, 'tiles': 1.9, 'mansard': 2.6, 'gable': 3.6, 'stepped': 3.6}


@dataclass(frozen=True)
class Facade:
    """One wall to paint. No floors make it a hedge or a garden wall; blind ones lack windows."""

    style: Style
    width: float
    floors: int
    seed: int
    blind: bool = False


@dataclass(frozen=True)
class Texture:
    """A painted wall.

    Attributes:
        image: uint8 ``[H, W, 4]``, red, green, blue and window rank; the last row is the ground.
        height: height of the image, meters.
        outline: height of the wall along its width, float32 ``[PROFILE]``, meters.
    """

    image: np.ndarray
    height: float
    outline: np.ndarray


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Return float32 noise ``[H, W]`` in about -1 to 1 with features of ``cell`` pixels."""
    small = rng.uniform(-1, 1, (shape[0] // cell + 3, shape[1] // cell + 3)).astype(np.float32)
    large = cv2.resize(small, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
    return large[cell:cell + shape[0], cell:cell + shape[1]]


def paint(facade: Facade) -> Texture:
    """Paint a wall; the same facade always gives the same pixels."""
    painter = _Painter(facade)
    if facade.floors == 0:
        return painter.hedge()
    return painter.house()


class _Painter:
    """Paints in meters: x to the right, z up from the ground."""

    def __init__(self, facade: Facade) -> None:
        self.facade = facade
        self.style = facade.style
        self.rng = np.random.default_rng(facade.seed)
        self.eaves = facade.floors * self.style.floor_height + 0.5
        roof = 0.3 if facade.blind else _ROOF_HEIGHT[self.style.roof]
        self.height = self.eaves + roof if facade.floors else float(self.rng.uniform(1.2, 2.4))
        tint = self.rng.normal(0, 9) + self.rng.normal(0, 5, 3)
        self.wall = tuple(float(v) for v in np.clip(np.array(self.style.wall) + tint, 20, 245))
        rows = round(self.height * PIXELS_PER_METRE)
        columns = max(8, round(facade.width * PIXELS_PER_METRE))
        self.image = np.empty((rows, columns, 4), np.uint8)
        self.image[:] = (*self.wall, 0)

    def house(self) -> Texture:
        """Paint a house from the ground floor to the roof."""
        self._material()
        bays = max(1, round(self.facade.width / self.style.bay))
        if self.facade.blind:
            for _ in range(int(self.rng.integers(0, 3))):
                self._window(self.rng.uniform(1, self.facade.width - 1), self.rng.integers(
                    1, self.facade.floors) * self.style.floor_height + 1.2, 0.8, 1.1)
        else:
            self._upper_floors(bays)
            self._ground_floor(bays)
            self._roof()
        self._weather()
        return self._texture(self._outline())

    def hedge(self) -> Texture:
        """Paint a hedge or a garden wall over the whole height."""
        shape = self.image.shape[:2]
        if self.rng.random() < 0.5:
            leaves = smooth_noise(self.rng, shape, 5) * 30 + smooth_noise(self.rng, shape, 2) * 26
            colour = np.array([58, 84, 42]) + self.rng.normal(0, 8, 3)
            self.image[..., :3] = np.clip(colour + leaves[..., None], 0, 255)
        else:
            self._material()
            self._rect(0, self.height - 0.15, self.facade.width, self.height, self.style.trim)
        self._weather()
        outline = self.height - 0.12 + 0.1 * smooth_noise(self.rng, (1, PROFILE), 6)[0]
        return self._texture(outline)

    def _texture(self, outline: np.ndarray) -> Texture:
        return Texture(self.image, self.height,
                       np.minimum(outline, self.height).astype(np.float32))

    def _rect(self, x0: float, z0: float, x1: float, z1: float,
              colour: tuple[float, ...], rank: int = 0) -> None:
        a = (round(x0 * PIXELS_PER_METRE), round((self.height - z1) * PIXELS_PER_METRE))
        b = (round(x1 * PIXELS_PER_METRE) - 1, round((self.height - z0) * PIXELS_PER_METRE) - 1)
        cv2.rectangle(self.image, a, b, (*colour[:3], rank), -1)

    def _shade(self, colour: tuple[float, ...], gain: float) -> tuple[float, ...]:
        return tuple(min(255.0, channel * gain) for channel in colour[:3])

    def _material(self) -> None:
        shape = self.image.shape[:2]
        grain = self.rng.normal(0, 3.5, shape).astype(np.float32)
        course = {'brick': 0.16, 'stone': 0.5, 'concrete': 1.5}.get(self.style.material)
        if course:
            rows = (np.arange(shape[0]) / PIXELS_PER_METRE / course).astype(int)
            width = course * (2.2 if self.style.material != 'concrete' else 1.2)
            offset = (rows % 2)[:, None] * 0.5
            columns = (np.arange(shape[1]) / PIXELS_PER_METRE / width + offset).astype(int)
            tone = self.rng.normal(0, 9, (rows.max() + 1, columns.max() + 2))
            grain += tone[rows[:, None], columns]
            grain[np.r_[False, np.diff(rows) > 0]] -= 14
        self.image[..., :3] = np.clip(self.image[..., :3] + grain[..., None], 0, 255)

    def _upper_floors(self, bays: int) -> None:
        step = self.facade.width / bays
        width, height = self.style.window
        width = min(width, step - 0.3)
        balcony = self.rng.random(bays) < self.style.balconies
        for floor in range(1, self.facade.floors):
            base = floor * self.style.floor_height
            if self.style.ornament in ('arch', 'lintel') or self.style.material == 'stone':
                self._rect(0, base + 0.25, self.facade.width, base + 0.37, self.style.trim)
            for bay in range(bays):
                if self.rng.random() < 0.03:
                    continue
                self._window((bay + 0.5) * step, base + 1.1, width, height)
                if balcony[bay]:
                    self._balcony((bay + 0.5) * step, base + 0.5, min(step - 0.3, width + 0.9))

    def _window(self, middle: float, sill: float, width: float, height: float) -> None:
        x0, x1, top = middle - width / 2, middle + width / 2, sill + height
        trim, rank = self.style.trim, int(self.rng.integers(1, 256))
        if self.style.ornament == 'shutters':
            colour = VIVID[self.facade.seed % 4]
            reach = width * (0.5 if self.rng.random() < 0.85 else 0.0)
            self._rect(x0 - reach, sill, x1 + reach, top, self._shade(colour, 0.8))
            for z in np.arange(sill, top, 0.2):
                self._rect(x0 - reach, z, x1 + reach, z + 0.05, self._shade(colour, 0.6))
        self._rect(x0 - 0.1, sill - 0.1, x1 + 0.1, top + 0.1, trim)
        if self.style.ornament == 'lintel':
            self._rect(x0 - 0.25, top + 0.1, x1 + 0.25, top + 0.35, self._shade(trim, 0.9))
        glass = np.array([62, 74, 88]) * self.rng.uniform(0.6, 1.3)
        self._rect(x0, sill, x1, top, tuple(glass), rank)
        self._rect(x0, sill + height * 0.6, x1, top, tuple(glass * 1.35), rank)
        if self.rng.random() < 0.45:
            drawn = self.rng.uniform(0.15, 0.5)
            bright = VIVID[int(self.rng.integers(10))]
            cloth = (200, 192, 176) if self.rng.random() < 0.7 else bright
            self._rect(x0, sill, x0 + drawn * width, top, self._shade(cloth, 0.75), rank)
            self._rect(x1 - drawn * width / 2, sill, x1, top, self._shade(cloth, 0.7), rank)
        if self.style.ornament == 'arch':
            centre = (round(middle * PIXELS_PER_METRE),
                      round((self.height - top) * PIXELS_PER_METRE))
            axes = (round(width / 2 * PIXELS_PER_METRE), round(width / 3 * PIXELS_PER_METRE))
            cv2.ellipse(self.image, centre, (axes[0] + 3, axes[1] + 3), 0, 180, 360, (*trim, 0), -1)
            cv2.ellipse(self.image, centre, axes, 0, 180, 360, (*(glass * 1.2), rank), -1)
        bars = 1 if width < 1.8 else 2
        for bar in range(1, bars + 1):
            x = x0 + width * bar / (bars + 1)
            self._rect(x - 0.05, sill, x + 0.05, top, trim)
        if self.style.ornament in ('cross', 'lintel'):
            self._rect(x0, sill + height * 0.65, x1, sill + height * 0.65 + 0.08, trim)
        self._rect(x0 - 0.2, sill - 0.2, x1 + 0.2, sill - 0.08, self._shade(trim, 0.8))
        self._rect(x0 - 0.15, sill - 0.3, x1 + 0.15, sill - 0.2, self._shade(self.wall, 0.75))
        if self.rng.random() < 0.12:
            for x in np.arange(x0, x1, 0.16):
                self._rect(x, sill - 0.1, x + 0.12, sill + self.rng.uniform(0.1, 0.3),
                           VIVID[int(self.rng.choice([0, 2, 3, 8]))])

    def _balcony(self, middle: float, base: float, width: float) -> None:
        x0, x1 = middle - width / 2, middle + width / 2
        self._rect(x0, base - 0.15, x1, base + 0.05, self._shade(self.style.trim, 0.75))
        self._rect(x0, base - 0.45, x1, base - 0.15, self._shade(self.wall, 0.6))
        rail = (40, 42, 46) if self.rng.random() < 0.6 else self._shade(self.style.trim, 1.0)
        for x in np.arange(x0, x1, 0.14):
            self._rect(x, base, x + 0.05, base + 0.95, rail)
        self._rect(x0, base + 0.9, x1, base + 1.0, rail)

    def _ground_floor(self, bays: int) -> None:
        use = self.rng.choice(['shop', 'home', 'home', 'office'])
        step = self.facade.width / bays
        top = self.style.floor_height
        if use != 'home' or self.rng.random() < 0.3:
            colour = VIVID[int(self.rng.integers(10))] if use == 'shop' else self.style.trim
            self._rect(0, 0, self.facade.width, top, self._shade(colour, 0.85))
        else:
            self._rect(0, 0, self.facade.width, 0.7, self._shade(self.wall, 0.65))
        door = int(self.rng.integers(bays))
        for bay in range(bays):
            middle = (bay + 0.5) * step
            if bay == door:
                self._door(middle, wide=self.rng.random() < 0.25)
            elif use == 'home':
                self._window(middle, 1.1, min(self.style.window[0], step - 0.3), 1.5)
            else:
                self._shop_window(middle, step - 0.35, top - 0.9)
        if use == 'shop':
            self._shop_sign(top)

    def _door(self, middle: float, wide: bool) -> None:
        width, height = (2.4, 2.4) if wide else (1.1, 2.3)
        width = min(width, self.facade.width * 0.8)
        colour = self._shade(VIVID[int(self.rng.integers(9))], 0.7)
        self._rect(middle - width / 2 - 0.15, 0, middle + width / 2 + 0.15, height + 0.15,
                   self.style.trim)
        self._rect(middle - width / 2, 0, middle + width / 2, height, colour)
        for x in np.arange(middle - width / 2 + 0.12, middle + width / 2 - 0.3, 0.5):
            self._rect(x, 0.25, x + 0.35, height * 0.45, self._shade(colour, 0.75))
            if not wide:
                self._rect(x, height * 0.55, x + 0.35, height - 0.2, (70, 80, 90), 120)
        self._rect(middle + width / 2 + 0.3, 1.7, middle + width / 2 + 0.55, 1.9, (30, 60, 130))

    def _shop_window(self, middle: float, width: float, height: float) -> None:
        x0, x1 = middle - width / 2, middle + width / 2
        rank = int(self.rng.integers(120, 256))
        self._rect(x0 - 0.08, 0.4, x1 + 0.08, height + 0.08, (44, 44, 46))
        self._rect(x0, 0.5, x1, height, (72, 82, 92), rank)
        for x in np.arange(x0 + 0.1, x1 - 0.3, 0.4):
            tall = self.rng.uniform(0.3, 1.3)
            self._rect(x, 0.5, x + self.rng.uniform(0.15, 0.35), 0.5 + tall,
                       self._shade(VIVID[int(self.rng.integers(10))], 0.9), rank)
        self._rect(x0, height * 0.72, x1, height, (112, 124, 134), rank)

    def _shop_sign(self, top: float) -> None:
        back = VIVID[int(self.rng.integers(10))]
        ink = (244, 240, 228) if sum(back) < 420 else (34, 34, 40)
        width = self.facade.width * self.rng.uniform(0.55, 1.0)
        x0 = self.rng.uniform(0, self.facade.width - width)
        if self.rng.random() < 0.45:
            for k, x in enumerate(np.arange(x0, x0 + width - 0.2, 0.45)):
                self._rect(x, top - 1.0, x + 0.45, top - 0.55, back if k % 2 else (232, 228, 220))
        self._rect(x0, top - 0.6, x0 + width, top + 0.2, back, 40)
        name = SHOP_NAMES[int(self.rng.integers(len(SHOP_NAMES)))]
        (text_width, text_height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
        scale = min(0.55 * PIXELS_PER_METRE / text_height,
                    (width - 0.9) * PIXELS_PER_METRE / text_width)
        if scale > 0.2:
            at = (round((x0 + 0.75) * PIXELS_PER_METRE),
                  round((self.height - top + 0.45) * PIXELS_PER_METRE))
            cv2.putText(self.image, name, at, cv2.FONT_HERSHEY_DUPLEX, scale, (*ink, 40), 2,
                        cv2.LINE_AA)
        centre = (round((x0 + 0.38) * PIXELS_PER_METRE),
                  round((self.height - top + 0.2) * PIXELS_PER_METRE))
        cv2.circle(self.image, centre, 8, (*ink, 40), -1, cv2.LINE_AA)
        cv2.circle(self.image, centre, int(self.rng.integers(2, 7)), (*back, 40), -1, cv2.LINE_AA)

    def _roof(self) -> None:
        kind, width = self.style.roof, self.facade.width
        if kind in ('tiles', 'mansard'):
            slate = kind == 'mansard'
            colour = self._shade((84, 88, 98) if slate else (158, 84, 58),
                                 self.rng.uniform(0.8, 1.15))
            self._rect(0, self.eaves, width, self.height, colour)
            for z in np.arange(self.eaves, self.height, 0.22):
                self._rect(0, z, width, z + 0.05, self._shade(colour, 0.75))
            for x in np.arange(self.rng.uniform(1, 2), width - 1.4, 3.0 if slate else 4.5):
                self._window(x + 0.6, self.eaves + 0.5, 0.8, 1.1)
        elif kind in ('gable', 'stepped') and width > 3:
            self._window(width / 2, self.eaves + 0.2, 0.9, 1.3)
        self._rect(0, self.eaves - 0.3, width, self.eaves, self._shade(self.style.trim, 0.95))
        self._rect(0, self.eaves - 0.42, width, self.eaves - 0.3, self._shade(self.wall, 0.6))

    def _outline(self) -> np.ndarray:
        x = np.linspace(-1, 1, PROFILE)
        roof = self.height - self.eaves
        if self.facade.blind or self.style.roof in ('flat', 'tiles', 'mansard'):
            outline = np.full(PROFILE, self.height - 0.02)
            if self.style.roof != 'flat':
                # Room for a chimney above the ridge.
                outline -= 0.6 * (np.abs(x - self.rng.uniform(-0.8, 0.8)) > 0.06)
            return outline
        slope = 1 - np.abs(x)
        if self.style.roof == 'stepped':
            slope = np.ceil(slope * 5) / 5
        return self.eaves + roof * slope

    def _weather(self) -> None:
        shape = self.image.shape[:2]
        dirt = 1 + 0.07 * smooth_noise(self.rng, shape, 48)
        dirt += 0.04 * smooth_noise(self.rng, shape, 9)
        streaks = smooth_noise(self.rng, (1, shape[1]), 6)[0]
        dirt *= 1 + 0.04 * streaks
        base = np.clip((self.height - np.arange(shape[0]) / PIXELS_PER_METRE) / 0.8, 0, 1)
        dirt *= 0.75 + 0.25 * base[:, None]
        self.image[..., :3] = np.clip(self.image[..., :3] * dirt[..., None], 0, 255)
        if self.facade.floors and self.rng.random() < 0.5:
            x = float(self.rng.choice([0.1, self.facade.width - 0.2]))
            self._rect(x, 0, x + 0.1, self.eaves - 0.3, (92, 94, 92))
        if self.rng.random() < 0.15:
            self._graffiti()

    def _graffiti(self) -> None:
        points = np.cumsum(self.rng.normal(0, 0.22, (14, 2)), axis=0)
        points += [self.rng.uniform(0.5, max(0.6, self.facade.width - 1.0)), 1.1]
        points[:, 1] = self.height - np.clip(points[:, 1], 0.3, 2.0)
        colour = VIVID[int(self.rng.integers(10))]
        cv2.polylines(self.image, [np.round(points * PIXELS_PER_METRE).astype(np.int32)], False,
                      (*colour, 0), 3, cv2.LINE_AA)
