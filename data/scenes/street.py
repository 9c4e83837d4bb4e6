"""The street itself: sky, ground and houses."""

from dataclasses import dataclass

from data.scenes.canvas import Color, Points, Stage, between, disc, scaled
from data.scenes.furniture import WALLS, tree

ROOFS = ((120, 62, 48), (84, 76, 74), (66, 62, 64))
GLASS, WHITE = (66, 76, 88), (212, 212, 206)
DEPTHS = (2.2, 3.0, 4.2, 6.0, 9.0, 14.0, 22.0, 36.0, 60.0, 100.0, 160.0)
END = 100.0  # metres to the houses or trees that close the street


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the street: metres from the middle of our lane. `sign` is -1 on the left, +1 on the right."""

    sign: int
    kerb: float
    walk: float  # outer rim of the sidewalk
    front: float  # line of the house fronts
    kind: str  # what lies between walk and front: "" (nothing), "green", "fence", "wall", "guard rail"
    houses: bool

    def x(self, distance: float) -> float:
        return self.sign * distance


def sky(stage: Stage, high: Color, low: Color) -> None:
    canvas, camera, dice = stage.canvas, stage.camera, stage.dice
    canvas.begin("sky")
    bands = 24
    bottom = round(camera.horizon) + 8
    for band in range(bands):
        color = tuple(
            (h * (bands - band) + c * band) // bands for h, c in zip(high, low, strict=True)
        )
        canvas.fill(
            _screen(0, camera.width, bottom * band // bands, bottom * (band + 1) // bands), color
        )
    for _ in range(dice.whole(0, 9)):
        u, v = dice.whole(0, camera.width), dice.whole(0, round(camera.horizon * 0.8))
        cloud = scaled(low, dice.whole(100, 112))
        for _ in range(6):
            at = (u + dice.whole(-60, 60), v + dice.whole(-8, 8))
            canvas.detail(disc(*at, dice.whole(12, 44), dice.whole(4, 12)), cloud)


def ground(stage: Stage, sides: tuple[Side, Side], tarmac: Color, paving: Color) -> None:
    """Terrain everywhere, sidewalks and kerbs on it, the road between them."""
    canvas, camera, dice = stage.canvas, stage.camera, stage.dice
    canvas.begin("terrain")
    grass = dice.vary(dice.pick(((96, 104, 62), (120, 108, 76), (88, 96, 58))))
    canvas.fill(_screen(0, camera.width, round(camera.horizon) + 4, camera.height), grass)
    left, right = sides
    canvas.begin("road")
    canvas.fill(strip(stage, left.x(left.kerb), right.x(right.kerb)), tarmac)
    for side in sides:
        canvas.begin("sidewalk")
        outer = side.walk if side.kind or not side.houses else side.front + 1
        canvas.fill(strip(stage, side.x(side.kerb), side.x(outer)), paving)
        for z in range(3, 40):
            joint = (
                (side.kerb, z),
                (outer, z),
                (outer, z + 0.04 + z * 0.004),
                (side.kerb, z + 0.04 + z * 0.004),
            )
            canvas.detail(
                camera.points(*((side.x(x), 0, depth) for x, depth in joint)), scaled(paving, 88)
            )
        canvas.detail(
            strip(stage, side.x(side.kerb), side.x(side.kerb + 0.16)), scaled(paving, 116)
        )
        canvas.detail(strip(stage, side.x(side.kerb - 0.1), side.x(side.kerb)), scaled(tarmac, 72))


def markings(
    stage: Stage, tarmac: Color, kerbs: tuple[float, float], crossing: float | None
) -> None:
    """Lane dashes, a zebra crossing at depth `crossing`, patches of other tarmac: edges of no class."""
    canvas, camera, dice = stage.canvas, stage.camera, stage.dice
    canvas.begin("road")
    for _ in range(dice.whole(1, 5)):
        x, z, long = dice.uniform(kerbs[0], kerbs[1] - 1.4), dice.uniform(4, 30), dice.uniform(1, 7)
        patch = camera.points((x, 0, z), (x + 1.3, 0, z), (x + 1.3, 0, z + long), (x, 0, z + long))
        canvas.detail(patch, scaled(tarmac, dice.pick((82, 90, 112))))
    paint = dice.vary(WHITE, 12)
    for x in (x for x in (-1.8, 1.8) if kerbs[0] + 0.5 < x < kerbs[1] - 0.5):
        start = dice.uniform(0, 6)
        for dash in range(14):
            z = 2.4 + start + dash * 6
            quad = camera.points(
                (x - 0.07, 0, z), (x + 0.07, 0, z), (x + 0.07, 0, z + 3), (x - 0.07, 0, z + 3)
            )
            canvas.detail(quad, paint)
    if crossing is not None:
        x, end = kerbs[0] + 0.4, crossing + 3
        while x < kerbs[1] - 0.6:
            bar = camera.points(
                (x, 0, crossing), (x + 0.45, 0, crossing), (x + 0.45, 0, end), (x, 0, end)
            )
            canvas.detail(bar, paint)
            x += 0.9


def house_row(stage: Stage, side: Side) -> None:
    """Houses from the far end to the near one, some gaps with trees between them."""
    dice = stage.dice
    starts, z = [], dice.uniform(-6, 3)
    while z < END:
        long = dice.uniform(8, 20)
        starts.append((max(z, 2.2), z + long, dice.chance(0.12)))
        z += long
    for z0, z1, gap in reversed(starts):
        if z1 < 2.4:
            continue
        if gap:
            for _ in range(3):
                tree(
                    stage,
                    side.x(side.front + dice.uniform(1, 5)),
                    dice.uniform(max(z0, 6), max(z1, 7)),
                )
        else:
            _house(stage, side, z0, z1)


def _house(stage: Stage, side: Side, z0: float, z1: float) -> None:
    canvas, camera, dice = stage.canvas, stage.camera, stage.dice
    canvas.begin("building", (z0 + z1) / 2)
    color, roof = dice.vary(dice.pick(WALLS), 24), dice.vary(dice.pick(ROOFS))
    storey, storeys = dice.uniform(2.8, 3.5), dice.whole(2, 6)
    high, x0, x1 = storey * storeys, side.x(side.front), side.x(side.front + 9)
    near = camera.points((x0, 0, z0), (x1, 0, z0), (x1, high, z0), (x0, high, z0))
    canvas.fill(near, scaled(color, 74))
    light = 108 if side.sign * (1 if stage.lit == "left" else -1) > 0 else 84
    front = [
        camera.point(x0, 0, z0),
        camera.point(x0, 0, z1),
        camera.point(x0, high, z1),
        camera.point(x0, high, z0),
    ]
    if dice.chance(0.6):  # a sloping roof
        ridge = [camera.point(side.x(side.front + 3), high + 3.2, z) for z in (z1, z0)]
        canvas.fill([front[3], front[2], *ridge], roof)
        canvas.fill([front[3], near[2], ridge[1]], scaled(color, 74))
    canvas.fill(front, scaled(color, light))
    _windows(stage, x0, (z0, z1), (storey, storeys), scaled(color, light))


def _windows(
    stage: Stage, x: float, span: tuple[float, float], storeys: tuple[float, int], wall: Color
) -> None:
    """Rows of windows, a ledge under each row, shops or doors on the ground floor."""
    canvas, camera, dice = stage.canvas, stage.camera, stage.dice
    (z0, z1), (storey, count) = span, storeys
    wide, high, pitch = dice.uniform(0.9, 1.6), dice.uniform(1.2, 1.9), dice.uniform(2.0, 3.2)
    frame, shop = scaled(wall, dice.pick((70, 130))), dice.chance(0.4)
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
                door = dice.chance(0.25)
                pane(
                    z,
                    wide * (1.5 if shop else 1.0),
                    0.0 if door else 0.6,
                    2.3,
                    dice.vary((52, 50, 50), 24),
                )
            else:
                pane(z - 0.12, wide + 0.24, low - 0.12, low + high + 0.12, frame)
                pane(z, wide, low, low + high, dice.vary(GLASS, 26))
                pane(z + wide * 0.47, wide * 0.08, low, low + high, frame)
    if shop:
        pane(
            z0 + 0.5,
            z1 - z0 - 1,
            2.45,
            2.95,
            dice.vary(dice.pick(((150, 40, 40), (40, 70, 120), (200, 190, 60)))),
        )


def backdrop(stage: Stage, *, green: bool) -> None:
    """What closes the street far away: a row of houses or of trees."""
    dice, canvas, camera = stage.dice, stage.canvas, stage.camera
    if green:
        for _ in range(26):
            tree(stage, dice.uniform(-80, 80) - camera.bend * END * END, END - dice.uniform(0, 5))
    else:
        canvas.begin("building", END)
        x = -90.0 - camera.bend * END * END
        while x < 90 - camera.bend * END * END:
            wide, high = dice.uniform(8, 22), dice.uniform(7, 24)
            color = dice.vary(dice.pick(WALLS))
            quad = camera.points(
                (x, 0, END), (x + wide, 0, END), (x + wide, high, END), (x, high, END)
            )
            canvas.fill(quad, color)
            for row in range(1, 4):
                canvas.detail(
                    between(quad, 0.1, 0.9, row * 0.25, row * 0.25 + 0.08), scaled(color, 72)
                )
            x += wide


def strip(stage: Stage, x0: float, x1: float) -> Points:
    """The polygon of the ground between x0 and x1, all along the street."""
    return stage.camera.points(
        *((x0, 0, z) for z in DEPTHS), *((x1, 0, z) for z in reversed(DEPTHS))
    )


def _screen(u0: int, u1: int, v0: int, v1: int) -> Points:
    return [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]
