"""The street itself: sky, ground and houses."""

from dataclasses import dataclass

from data.scenes.canvas import Points, between, disc, rectangle
from data.scenes.choices import Color, mixed, scaled
from data.scenes.furniture import WALLS, tree
from data.scenes.stage import Stage

ROOFS = ((120, 62, 48), (84, 76, 74), (66, 62, 64))
GLASS = (66, 76, 88)
WHITE = (212, 212, 206)
# Depths at which the ground is a corner of its polygon: the street bends.
DEPTHS = (2.2, 3.0, 4.2, 6.0, 9.0, 14.0, 22.0, 36.0, 60.0, 100.0, 160.0)
END = 100.0  # metres to the houses or trees that close the street


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the street, in metres from the middle of our lane.

    sign: -1 on the left, +1 on the right.
    kerb: where the sidewalk begins.
    walk: where the sidewalk ends.
    front: the line of the house fronts.
    kind: what lies between walk and front: "" (nothing), "green", "hedge", "fence", "wall",
        "guard rail".
    houses: whether there are any; else there are trees.
    """

    sign: int
    kerb: float
    walk: float
    front: float
    kind: str
    houses: bool

    def x(self, distance: float) -> float:
        """The world's x at a distance from the middle of our lane."""
        return self.sign * distance


def sky(stage: Stage, high: Color, low: Color) -> None:
    """Bands from colour `high` to colour `low`, and clouds."""
    canvas, camera, rng = stage.canvas, stage.camera, stage.rng
    canvas.begin("sky")
    bands = 24
    bottom = round(camera.horizon) + 8
    for band in range(bands):
        top, end = bottom * band // bands, bottom * (band + 1) // bands
        canvas.fill(rectangle(0, camera.width, top, end), mixed(high, low, band, bands))
    for _ in range(rng.whole(0, 9)):
        u, v = rng.whole(0, camera.width), rng.whole(0, round(camera.horizon * 0.8))
        cloud = scaled(low, rng.whole(100, 112))
        for _ in range(6):
            at = (u + rng.whole(-60, 60), v + rng.whole(-8, 8))
            canvas.detail(disc(*at, rng.whole(12, 44), rng.whole(4, 12)), cloud)


def ground(stage: Stage, sides: tuple[Side, Side], tarmac: Color, paving: Color) -> None:
    """Terrain everywhere, sidewalks and kerbs on it, the road between them."""
    canvas, camera, rng = stage.canvas, stage.camera, stage.rng
    canvas.begin("terrain")
    grass = rng.vary(rng.pick(((96, 104, 62), (120, 108, 76), (88, 96, 58))))
    canvas.fill(rectangle(0, camera.width, round(camera.horizon) + 4, camera.height), grass)
    left, right = sides
    canvas.begin("road")
    canvas.fill(strip(stage, left.x(left.kerb), right.x(right.kerb)), tarmac)
    for side in sides:
        canvas.begin("sidewalk")
        outer = side.walk if side.kind or not side.houses else side.front + 1
        canvas.fill(strip(stage, side.x(side.kerb), side.x(outer)), paving)
        kerb = side.x(side.kerb)
        for z in range(3, 40):
            joint = camera.on_ground(kerb, side.x(outer), z, z + 0.04 + z * 0.004)
            canvas.detail(joint, scaled(paving, 88))
        canvas.detail(strip(stage, kerb, side.x(side.kerb + 0.16)), scaled(paving, 116))
        canvas.detail(strip(stage, side.x(side.kerb - 0.1), kerb), scaled(tarmac, 72))


def markings(
    stage: Stage, tarmac: Color, kerbs: tuple[float, float], crossing: float | None
) -> None:
    """Lane dashes, a zebra crossing at depth `crossing`, patches: edges of no class."""
    canvas, camera, rng = stage.canvas, stage.camera, stage.rng
    canvas.begin("road")
    for _ in range(rng.whole(1, 5)):
        x = rng.uniform(kerbs[0], kerbs[1] - 1.4)
        z = rng.uniform(4, 30)
        long = rng.uniform(1, 7)
        patch = camera.on_ground(x, x + 1.3, z, z + long)
        canvas.detail(patch, scaled(tarmac, rng.pick((82, 90, 112))))
    paint = rng.vary(WHITE, 12)
    for x in (x for x in (-1.8, 1.8) if kerbs[0] + 0.5 < x < kerbs[1] - 0.5):
        start = rng.uniform(0, 6)
        for dash in range(14):
            z = 2.4 + start + dash * 6
            canvas.detail(camera.on_ground(x - 0.07, x + 0.07, z, z + 3), paint)
    if crossing is not None:
        x, end = kerbs[0] + 0.4, crossing + 3
        while x < kerbs[1] - 0.6:
            canvas.detail(camera.on_ground(x, x + 0.45, crossing, end), paint)
            x += 0.9


def house_row(stage: Stage, side: Side) -> None:
    """Houses from the far end to the near one, some gaps with trees between them."""
    rng = stage.rng
    starts, z = [], rng.uniform(-6, 3)
    while z < END:
        long = rng.uniform(8, 20)
        starts.append((max(z, 2.2), z + long, rng.chance(0.12)))
        z += long
    for z0, z1, gap in reversed(starts):
        if z1 < 2.4:
            continue
        if gap:
            for _ in range(3):
                x = side.x(side.front + rng.uniform(1, 5))
                tree(stage, x, rng.uniform(max(z0, 6), max(z1, 7)))
        else:
            _house(stage, side, z0, z1)


def _house(stage: Stage, side: Side, z0: float, z1: float) -> None:
    """One house from z0 to z1: its near wall, its front, and often a sloping roof."""
    canvas, camera, rng = stage.canvas, stage.camera, stage.rng
    canvas.begin("building", (z0 + z1) / 2)
    color = rng.vary(rng.pick(WALLS), 24)
    roof = rng.vary(rng.pick(ROOFS))
    storey = rng.uniform(2.8, 3.5)
    storeys = rng.whole(2, 6)
    high = storey * storeys
    x0, x1 = side.x(side.front), side.x(side.front + 9)
    near = camera.points((x0, 0, z0), (x1, 0, z0), (x1, high, z0), (x0, high, z0))
    canvas.fill(near, scaled(color, 74))
    light = 108 if side.sign * (1 if stage.lit == "left" else -1) > 0 else 84
    front = camera.points((x0, 0, z0), (x0, 0, z1), (x0, high, z1), (x0, high, z0))
    if rng.chance(0.6):  # a sloping roof
        ridge = [camera.point(side.x(side.front + 3), high + 3.2, z) for z in (z1, z0)]
        canvas.fill([front[3], front[2], *ridge], roof)
        canvas.fill([front[3], near[2], ridge[1]], scaled(color, 74))
    canvas.fill(front, scaled(color, light))
    _windows(stage, x0, (z0, z1), (storey, storeys), scaled(color, light))


def _windows(
    stage: Stage, x: float, span: tuple[float, float], storeys: tuple[float, int], wall: Color
) -> None:
    """Rows of windows, a ledge under each row, shops or doors on the ground floor."""
    canvas, camera, rng = stage.canvas, stage.camera, stage.rng
    (z0, z1), (storey, count) = span, storeys
    wide = rng.uniform(0.9, 1.6)
    high = rng.uniform(1.2, 1.9)
    pitch = rng.uniform(2.0, 3.2)
    frame = scaled(wall, rng.pick((70, 130)))
    shop = rng.chance(0.4)
    columns = [z0 + pitch * (i + 0.3) for i in range(int((z1 - z0) / pitch))]

    def pane(z: float, width: float, low: float, top: float, color: Color) -> None:
        quad = camera.points((x, low, z), (x, low, z + width), (x, top, z + width), (x, top, z))
        if camera.sees(quad) and abs(quad[1][0] - quad[0][0]) >= 2:
            canvas.detail(quad, color)

    for floor in range(count):
        low = floor * storey + 0.9
        pane(z0, z1 - z0, floor * storey - 0.1, floor * storey + 0.08, scaled(wall, 82))
        for z in columns:
            if floor == 0:
                foot = 0.0 if rng.chance(0.25) else 0.6  # door or window
                width = wide * (1.5 if shop else 1.0)
                pane(z, width, foot, 2.3, rng.vary((52, 50, 50), 24))
            else:
                pane(z - 0.12, wide + 0.24, low - 0.12, low + high + 0.12, frame)
                pane(z, wide, low, low + high, rng.vary(GLASS, 26))
                pane(z + wide * 0.47, wide * 0.08, low, low + high, frame)
    if shop:
        sign = rng.vary(rng.pick(((150, 40, 40), (40, 70, 120), (200, 190, 60))))
        pane(z0 + 0.5, z1 - z0 - 1, 2.45, 2.95, sign)


def backdrop(stage: Stage, *, green: bool) -> None:
    """What closes the street far away: a row of houses or of trees."""
    rng, canvas, camera = stage.rng, stage.canvas, stage.camera
    bend = camera.bend * END * END  # the far end is straight ahead
    if green:
        for _ in range(26):
            tree(stage, rng.uniform(-80, 80) - bend, END - rng.uniform(0, 5))
        return
    canvas.begin("building", END)
    x = -90.0 - bend
    while x < 90 - bend:
        right = x + rng.uniform(8, 22)
        high = rng.uniform(7, 24)
        color = rng.vary(rng.pick(WALLS))
        quad = camera.points((x, 0, END), (right, 0, END), (right, high, END), (x, high, END))
        canvas.fill(quad, color)
        for row in range(1, 4):
            ledge = between(quad, 0.1, 0.9, row * 0.25, row * 0.25 + 0.08)
            canvas.detail(ledge, scaled(color, 72))
        x = right


def strip(stage: Stage, x0: float, x1: float) -> Points:
    """The polygon of the ground between x0 and x1, all along the street."""
    return stage.camera.points(
        *((x0, 0, z) for z in DEPTHS), *((x1, 0, z) for z in reversed(DEPTHS))
    )
