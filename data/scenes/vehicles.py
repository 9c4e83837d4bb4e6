"""Vehicles: each function draws what stands at (x, z), in metres, with z its near end."""

from data.scenes.canvas import Points, between
from data.scenes.choices import Color, scaled
from data.scenes.stage import Block, Stage

PAINT = (
    (40, 42, 48),
    (190, 192, 195),
    (120, 124, 130),
    (225, 225, 222),
    (130, 30, 34),
    (36, 56, 110),
    (60, 84, 66),
    (180, 150, 60),
)
SIDES = ("left", "right")
GLASS = (58, 70, 84)
TYRE = (24, 24, 26)
RED = (170, 24, 24)
LAMP = (236, 232, 210)

Footprint = tuple[float, float, float, float]  # x0, x1, z0, z1


def car(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    """A car or a van; far ones are a group, as Cityscapes' annotators draw them."""
    rng, canvas = stage.rng, stage.canvas
    wide = rng.uniform(1.65, 1.85)
    long = rng.uniform(3.8, 4.7)
    waist = rng.uniform(0.8, 0.95)
    high = 1.45
    hood = rng.uniform(0.9, 1.3)
    boot = rng.pick((0.05, 0.1, 0.9))
    if rng.chance(0.2):  # a van
        hood, boot, high, long = 0.6, 0.05, 1.95, long + 0.4
    color = rng.vary(rng.pick(PAINT))
    x0, x1, z1 = x - wide / 2, x + wide / 2, z + long
    near, far = (hood, boot) if oncoming else (boot, hood)

    _ground_shadow(stage, (x0, x1, z, z1))
    canvas.begin("car", z, group=z > 75)
    _wheels(stage, (x0, x1, z, z1), 0.32)
    shoulders = (x0 + 0.04, x1 - 0.04, z + 0.05, z1 - 0.05)
    body = stage.block(Block((x0, x1, z, z1), shoulders, 0.2, waist), color)
    base = (x0 + 0.06, x1 - 0.06, z + near, z1 - far)
    roof = (x0 + 0.22, x1 - 0.22, z + near + (0.7 if oncoming else 0.4), z1 - far - 0.5)
    cabin = stage.block(Block(base, roof, waist, high), color)
    for side in (side for side in cabin if side != "top"):
        canvas.detail(between(cabin[side], 0.08, 0.92, 0.1, 0.86), rng.vary(GLASS, 12))
        if side != "near":
            canvas.detail(between(cabin[side], 0.5, 0.54, 0.05, 0.95), scaled(color, 90))
    for side in (side for side in body if side in SIDES):
        canvas.detail(between(body[side], 0.52, 0.54, 0.15, 0.95), scaled(color, 55))
    _face_of_car(stage, body["near"], oncoming=oncoming)


def bus(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    """A bus."""
    _coach(stage, "bus", x, z, (2.5, 3.1, stage.rng.uniform(9, 12)), oncoming=oncoming)


def train(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    """A tram, with the rails that it runs on."""
    for left in (x - 0.77, x + 0.67):
        stage.canvas.detail(stage.camera.on_ground(left, left + 0.1, 2.2, z), (60, 58, 58))
    _coach(stage, "train", x, z, (2.6, 3.5, stage.rng.uniform(20, 30)), oncoming=oncoming)


def truck(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    """A truck: a cab, and a load with a gap between them."""
    rng, canvas = stage.rng, stage.canvas
    long = rng.uniform(6, 9)
    high = rng.uniform(2.9, 3.7)
    cargo = rng.vary(rng.pick(PAINT))
    cab = rng.vary(rng.pick(PAINT))
    x0, x1, z1 = x - 1.2, x + 1.2, z + long
    load = (x0, x1, z + 2.2, z1) if oncoming else (x0, x1, z, z1 - 2.2)
    front = (x0 + 0.1, x1 - 0.1, z, z + 2.0) if oncoming else (x0 + 0.1, x1 - 0.1, z1 - 2.0, z1)

    _ground_shadow(stage, (x0, x1, z, z1))
    canvas.begin("truck", z)
    parts = [(Block(load, load, 0.95, high), cargo), (Block(front, front, 0.4, 2.6), cab)]
    faces = [stage.block(block, color) for block, color in (parts if oncoming else parts[::-1])]
    _wheels(stage, (x0, x1, z, z1), 0.48)
    chassis = (x0 + 0.05, x1 - 0.05, z, z1)
    stage.block(Block(chassis, chassis, 0.5, 0.97), (46, 46, 50))
    nearest = faces[-1]["near"]
    if oncoming:
        canvas.detail(between(nearest, 0.08, 0.92, 0.5, 0.9), GLASS)
    else:
        canvas.detail(between(nearest, 0.49, 0.51, 0.0, 1.0), scaled(cargo, 60))
    _lights(stage, nearest, LAMP if oncoming else RED, 0.04)


def _coach(
    stage: Stage, name: str, x: float, z: float, size: tuple[float, float, float], *, oncoming: bool
) -> None:
    """A bus or tram of size (width, height, length): a long box with a band of windows."""
    rng, canvas = stage.rng, stage.canvas
    color = rng.vary(rng.pick(PAINT[3:]))
    wide, high, long = size
    base = (x - wide / 2, x + wide / 2, z, z + long)
    _ground_shadow(stage, base)
    canvas.begin(name, z)
    if name == "bus":
        _wheels(stage, base, 0.5)
    faces = stage.block(Block(base, base, 0.3, high), color)
    for side in (side for side in faces if side in SIDES):
        panes = 6 if name == "bus" else 12
        for pane in range(panes):
            glass = between(faces[side], (pane + 0.08) / panes, (pane + 0.92) / panes, 0.42, 0.82)
            canvas.detail(glass, rng.vary(GLASS, 10))
        canvas.detail(between(faces[side], 0, 1, 0.25, 0.3), scaled(color, 70))
    canvas.detail(between(faces["near"], 0.07, 0.93, 0.4, 0.8), GLASS)
    sign = (30, 30, 30) if oncoming else scaled(color, 60)
    canvas.detail(between(faces["near"], 0.25, 0.75, 0.86, 0.95), sign)
    _lights(stage, faces["near"], LAMP if oncoming else RED, 0.12)


def _ground_shadow(stage: Stage, base: Footprint) -> None:
    """The shadow below a vehicle, longer on the side away from the sun."""
    x0, x1, z0, z1 = base
    away = 0.5 if stage.lit == "left" else -0.5
    left, right = x0 + min(away, 0) - 0.1, x1 + max(away, 0) + 0.1
    stage.canvas.shade(stage.camera.on_ground(left, right, z0 - 0.25, z1), 45)


def _wheels(stage: Stage, base: Footprint, radius: float) -> None:
    """The wheels on the side that we see, and the two at the near end from behind."""
    x0, x1, z0, z1 = base
    camera, canvas = stage.camera, stage.canvas
    for left in (x0 + 0.1, x1 - 0.3):
        right = left + 0.2
        tyre = camera.points((left, 0, z0), (right, 0, z0), (right, 0.5, z0), (left, 0.5, z0))
        canvas.fill(tyre, TYRE)
    for side in (side for side in Block(base, base, 0, 1).faces(camera) if side in SIDES):
        x = x0 if side == "left" else x1
        for z in (z0 + 0.9, z1 - 0.9):
            for part, color in ((1.0, TYRE), (0.55, (130, 130, 132))):
                canvas.fill(_wheel(stage, x, z, radius, radius * part), color)


def _wheel(stage: Stage, x: float, z: float, radius: float, reach: float) -> Points:
    """An octagon of radius `reach` around the hub of a wheel of radius `radius`."""
    ring = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))
    return stage.camera.points(*((x, radius + reach * b, z + reach * a) for a, b in ring))


def _face_of_car(stage: Stage, quad: Points, *, oncoming: bool) -> None:
    """Bumper, number plate, grille and lights on the near end."""
    stage.canvas.detail(between(quad, 0.0, 1.0, 0.0, 0.16), (38, 38, 40))
    stage.canvas.detail(between(quad, 0.36, 0.64, 0.22, 0.42), (214, 214, 208))
    if oncoming:
        stage.canvas.detail(between(quad, 0.25, 0.75, 0.5, 0.75), (30, 30, 32))
    _lights(stage, quad, LAMP if oncoming else RED, 0.5)


def _lights(stage: Stage, quad: Points, color: Color, low: float) -> None:
    top = low + 0.25 * max(low, 0.3)
    for left in (0.03, 0.81):
        stage.canvas.detail(between(quad, left, left + 0.16, low, top), color)
