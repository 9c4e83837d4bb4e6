"""Plants, barriers, poles, lights, signs: each function draws one at (x, z), in metres."""

from data.scenes.canvas import Points, between, ragged
from data.scenes.choices import scaled
from data.scenes.stage import Block, Stage

WALLS = (
    (168, 150, 128),
    (136, 120, 108),
    (150, 84, 66),
    (190, 184, 172),
    (112, 114, 118),
    (176, 160, 110),
    (96, 88, 84),
    (140, 150, 158),
)
LEAVES = ((62, 84, 44), (84, 96, 50), (48, 68, 42), (104, 100, 52), (72, 92, 66))
POLE = (112, 114, 114)
WHITE = (212, 212, 206)
RED = (180, 30, 34)
BLUE = (30, 70, 150)
YELLOW = (222, 180, 46)


def tree(stage: Stage, x: float, z: float) -> None:
    """A tree or a bush: a stem, and blobs of leaves from the dark bottom to the light top."""
    rng, canvas, camera = stage.rng, stage.canvas, stage.camera
    canvas.begin("vegetation", z)
    scale = camera.focal / z
    color = rng.vary(rng.pick(LEAVES))
    high = rng.uniform(4.5, 9)
    reach = rng.uniform(1.3, 2.6)
    if rng.chance(0.12):
        high = reach * 2.2  # a bush
    stem = high * 0.6
    canvas.fill(
        camera.points((x - 0.16, 0, z), (x + 0.16, 0, z), (x + 0.1, stem, z), (x - 0.1, stem, z)),
        (74, 62, 50),
    )
    u, v = camera.point(x, high - reach * 1.1, z)
    blobs = [(rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.3, 0.6)) for _ in range(22)]
    for a, b, size in sorted(blobs, key=lambda blob: -blob[1]):
        slim = 1 - 0.5 * b * b
        light = 100 - round(24 * b) + rng.whole(-10, 10)
        at = (u + a * slim * reach * scale, v + b * reach * 1.1 * scale)
        canvas.fill(ragged(rng, *at, max(2.0, size * reach * scale)), scaled(color, light))


def hedge(stage: Stage, x: float, z0: float, z1: float) -> None:
    """A hedge along the street, drawn from its far end to its near one."""
    rng, canvas, camera = stage.rng, stage.canvas, stage.camera
    high = rng.uniform(0.8, 1.6)
    color = rng.vary(rng.pick(LEAVES))
    z = z1
    while z > z0:
        canvas.begin("vegetation", z)
        for y in (0.3, 0.7, 1.0):
            u, v = camera.point(x, high * y - 0.25, z)
            leaves = ragged(rng, u, v, max(2.0, 0.55 * camera.focal / z))
            canvas.fill(leaves, scaled(color, round(70 + 34 * y)))
        z -= 0.3 + z * 0.02


def barrier(stage: Stage, kind: str, x: float, z0: float, z1: float) -> None:
    """A fence of bars, a wall or a guard rail along the street."""
    rng, canvas, camera = stage.rng, stage.canvas, stage.camera
    canvas.begin(kind, (z0 + z1) / 2)
    # Both numbers are drawn whatever the kind is: a change would move all later choices.
    heights = {"fence": rng.uniform(1.1, 1.9), "wall": rng.uniform(1.2, 2.6), "guard rail": 0.75}
    high = heights[kind]
    quad = camera.points((x, 0, z0), (x, 0, z1), (x, high, z1), (x, high, z0))
    if kind == "wall":
        color = rng.vary(rng.pick(WALLS))
        canvas.fill(quad, color)
        for row in range(1, 8):
            canvas.detail(between(quad, 0, 1, row / 8, row / 8 + 0.02), scaled(color, 82))
        canvas.detail(between(quad, 0, 1, 0.94, 1), scaled(color, 120))
        return
    canvas.mark(quad)
    color = rng.vary(rng.pick(((70, 80, 74), (150, 150, 150), (116, 84, 60))))
    rails = ((0.1, 0.16), (0.88, 0.95)) if kind == "fence" else ((0.5, 1.0),)
    for low, top in rails:
        canvas.detail(between(quad, 0, 1, low, top), color)
    thick, pitch = (0.05, 0.22) if kind == "fence" else (0.1, 2.0)
    z = z0
    while z < z1:
        bar = camera.points((x, 0, z), (x, 0, z + thick), (x, high, z + thick), (x, high, z))
        canvas.detail(bar, color)
        z += pitch + z * 0.006


def pole(stage: Stage, x: float, z: float, high: float, wide: float = 0.13) -> None:
    """A pole with a shady side."""
    stage.canvas.begin("pole", z)
    figure = stage.upright(x, z)
    color = stage.rng.vary(POLE, 30)
    stage.canvas.fill(figure.bar((0, 0), (0, high), wide), color)
    shade = figure.bar((wide * 0.3, 0), (wide * 0.3, high), wide * 0.3)
    stage.canvas.detail(shade, scaled(color, 66))


def lamp(stage: Stage, x: float, z: float) -> None:
    """A lamp post with an arm towards the road."""
    high = stage.rng.uniform(5.5, 8)
    arm = -1.4 if x > 0 else 1.4
    pole(stage, x, z, high, 0.16)
    figure = stage.upright(x, z)
    stage.canvas.fill(figure.bar((0, high), (arm, high + 0.25), 0.09), POLE)
    head = figure.bar((arm * 0.8, high + 0.22), (arm * 1.3, high + 0.25), 0.2)
    stage.canvas.fill(head, (150, 150, 146))


def traffic_light(stage: Stage, x: float, z: float) -> None:
    """A traffic light on its pole, one of its three lenses bright."""
    rng, canvas, figure = stage.rng, stage.canvas, stage.upright(x, z)
    pole(stage, x, z, 3.4, 0.14)
    canvas.begin("traffic light", z)
    shows = rng.whole(0, 2)
    canvas.fill(figure.points((-0.2, 2.45), (0.2, 2.45), (0.2, 3.5), (-0.2, 3.5)), (34, 36, 34))
    for lens, color in enumerate(((70, 220, 150), (240, 190, 60), (240, 60, 50))):
        light = color if lens == shows else scaled(color, 25)
        canvas.detail(figure.disc(0, 2.64 + 0.33 * lens, 0.12), light)


def traffic_sign(stage: Stage, x: float, z: float) -> None:
    """A traffic sign on its pole: one of five shapes."""
    rng, canvas, figure = stage.rng, stage.canvas, stage.upright(x, z)
    pole(stage, x, z, 2.5, 0.08)
    canvas.begin("traffic sign", z)
    y = 2.4
    size = rng.uniform(0.3, 0.42)

    def triangle(r: float) -> Points:
        return figure.points((-r, y - r * 0.58), (r, y - r * 0.58), (0, y + r * 1.15))

    def diamond(r: float) -> Points:
        return figure.points((-r, y), (0, y - r), (r, y), (0, y + r))

    bar = figure.bar((-size * 0.5, y), (size * 0.5, y), 0.12)
    board = figure.points((-0.55, 2.1), (0.55, 2.1), (0.55, 2.7), (-0.55, 2.7))
    plate, plate_color, inside, inside_color = rng.pick(
        (
            (figure.disc(0, y, size), RED, figure.disc(0, y, size * 0.68), WHITE),
            (triangle(size * 1.15), RED, triangle(size * 0.7), WHITE),
            (figure.disc(0, y, size), BLUE, bar, WHITE),
            (board, rng.pick((BLUE, YELLOW)), bar, WHITE),
            (diamond(size), WHITE, diamond(size * 0.65), YELLOW),
        )
    )
    canvas.fill(plate, plate_color)
    canvas.detail(inside, inside_color)


def clutter(stage: Stage, x: float, z: float) -> None:
    """A bin, box or case: void in Cityscapes, with boundaries all the same."""
    rng = stage.rng
    stage.canvas.begin(rng.pick(("static", "static", "dynamic")), z)
    base = (x - rng.uniform(0.2, 0.5), x + rng.uniform(0.2, 0.5), z, z + rng.uniform(0.4, 0.9))
    stage.block(Block(base, base, 0, rng.uniform(0.5, 1.3)), rng.vary(rng.pick(WALLS), 40))
