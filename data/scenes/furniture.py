"""Plants, barriers, poles, lights and signs: each function draws what stands at (x, z), in metres."""

from data.scenes.canvas import Block, Points, Stage, between, ragged, scaled

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
POLE, WHITE, RED, BLUE, YELLOW = (
    (112, 114, 114),
    (212, 212, 206),
    (180, 30, 34),
    (30, 70, 150),
    (222, 180, 46),
)


def tree(stage: Stage, x: float, z: float) -> None:
    dice, canvas, camera = stage.dice, stage.canvas, stage.camera
    canvas.begin("vegetation", z)
    scale, color = camera.focal / z, dice.vary(dice.pick(LEAVES))
    high, reach = dice.uniform(4.5, 9), dice.uniform(1.3, 2.6)
    if dice.chance(0.12):
        high = reach * 2.2  # a bush
    trunk = camera.points(
        (x - 0.16, 0, z), (x + 0.16, 0, z), (x + 0.1, high * 0.6, z), (x - 0.1, high * 0.6, z)
    )
    canvas.fill(trunk, (74, 62, 50))
    u, v = camera.point(x, high - reach * 1.1, z)
    blobs = [(dice.uniform(-1, 1), dice.uniform(-1, 1), dice.uniform(0.3, 0.6)) for _ in range(22)]
    for a, b, size in sorted(blobs, key=lambda blob: -blob[1]):
        slim = 1 - 0.5 * b * b
        light = 100 - round(24 * b) + dice.whole(-10, 10)
        at = (u + a * slim * reach * scale, v + b * reach * 1.1 * scale)
        canvas.fill(ragged(dice, *at, max(2.0, size * reach * scale)), scaled(color, light))


def hedge(stage: Stage, x: float, z0: float, z1: float) -> None:
    dice, canvas, camera = stage.dice, stage.canvas, stage.camera
    high, color, z = dice.uniform(0.8, 1.6), dice.vary(dice.pick(LEAVES)), z1
    while z > z0:
        canvas.begin("vegetation", z)
        for y in (0.3, 0.7, 1.0):
            u, v = camera.point(x, high * y - 0.25, z)
            canvas.fill(
                ragged(dice, u, v, max(2.0, 0.55 * camera.focal / z)),
                scaled(color, round(70 + 34 * y)),
            )
        z -= 0.3 + z * 0.02


def barrier(stage: Stage, kind: str, x: float, z0: float, z1: float) -> None:
    """A fence of bars, a wall or a guard rail along the street."""
    dice, canvas, camera = stage.dice, stage.canvas, stage.camera
    canvas.begin(kind, (z0 + z1) / 2)
    high = {"fence": dice.uniform(1.1, 1.9), "wall": dice.uniform(1.2, 2.6), "guard rail": 0.75}[
        kind
    ]
    quad = camera.points((x, 0, z0), (x, 0, z1), (x, high, z1), (x, high, z0))
    if kind == "wall":
        color = dice.vary(dice.pick(WALLS))
        canvas.fill(quad, color)
        for row in range(1, 8):
            canvas.detail(between(quad, 0, 1, row / 8, row / 8 + 0.02), scaled(color, 82))
        canvas.detail(between(quad, 0, 1, 0.94, 1), scaled(color, 120))
        return
    canvas.mark(quad)
    color = dice.vary(dice.pick(((70, 80, 74), (150, 150, 150), (116, 84, 60))))
    rails = ((0.1, 0.16), (0.88, 0.95)) if kind == "fence" else ((0.5, 1.0),)
    for low, top in rails:
        canvas.detail(between(quad, 0, 1, low, top), color)
    thick, pitch = (0.05, 0.22) if kind == "fence" else (0.1, 2.0)
    z = z0
    while z < z1:
        canvas.detail(
            camera.points((x, 0, z), (x, 0, z + thick), (x, high, z + thick), (x, high, z)), color
        )
        z += pitch + z * 0.006


def pole(stage: Stage, x: float, z: float, high: float, wide: float = 0.13) -> None:
    stage.canvas.begin("pole", z)
    figure = stage.upright(x, z)
    color = stage.dice.vary(POLE, 30)
    stage.canvas.fill(figure.bar((0, 0), (0, high), wide), color)
    stage.canvas.detail(
        figure.bar((wide * 0.3, 0), (wide * 0.3, high), wide * 0.3), scaled(color, 66)
    )


def lamp(stage: Stage, x: float, z: float) -> None:
    """A lamp post with an arm towards the road."""
    high, arm = stage.dice.uniform(5.5, 8), -1.4 if x > 0 else 1.4
    pole(stage, x, z, high, 0.16)
    figure = stage.upright(x, z)
    stage.canvas.fill(figure.bar((0, high), (arm, high + 0.25), 0.09), POLE)
    stage.canvas.fill(
        figure.bar((arm * 0.8, high + 0.22), (arm * 1.3, high + 0.25), 0.2), (150, 150, 146)
    )


def traffic_light(stage: Stage, x: float, z: float) -> None:
    dice, canvas, figure = stage.dice, stage.canvas, stage.upright(x, z)
    pole(stage, x, z, 3.4, 0.14)
    canvas.begin("traffic light", z)
    shows = dice.whole(0, 2)
    canvas.fill(figure.points((-0.2, 2.45), (0.2, 2.45), (0.2, 3.5), (-0.2, 3.5)), (34, 36, 34))
    for lens, color in enumerate(((70, 220, 150), (240, 190, 60), (240, 60, 50))):
        canvas.detail(
            figure.disc(0, 2.64 + 0.33 * lens, 0.12), color if lens == shows else scaled(color, 25)
        )


def traffic_sign(stage: Stage, x: float, z: float) -> None:
    dice, canvas, figure = stage.dice, stage.canvas, stage.upright(x, z)
    pole(stage, x, z, 2.5, 0.08)
    canvas.begin("traffic sign", z)
    y, size = 2.4, dice.uniform(0.3, 0.42)

    def triangle(r: float) -> Points:
        return figure.points((-r, y - r * 0.58), (r, y - r * 0.58), (0, y + r * 1.15))

    def diamond(r: float) -> Points:
        return figure.points((-r, y), (0, y - r), (r, y), (0, y + r))

    bar = figure.bar((-size * 0.5, y), (size * 0.5, y), 0.12)
    board = figure.points((-0.55, 2.1), (0.55, 2.1), (0.55, 2.7), (-0.55, 2.7))
    plate, plate_color, inside, inside_color = dice.pick(
        (
            (figure.disc(0, y, size), RED, figure.disc(0, y, size * 0.68), WHITE),
            (triangle(size * 1.15), RED, triangle(size * 0.7), WHITE),
            (figure.disc(0, y, size), BLUE, bar, WHITE),
            (board, dice.pick((BLUE, YELLOW)), bar, WHITE),
            (diamond(size), WHITE, diamond(size * 0.65), YELLOW),
        )
    )
    canvas.fill(plate, plate_color)
    canvas.detail(inside, inside_color)


def clutter(stage: Stage, x: float, z: float) -> None:
    """A bin, box or case: void in Cityscapes, with boundaries all the same."""
    dice = stage.dice
    stage.canvas.begin(dice.pick(("static", "static", "dynamic")), z)
    base = (x - dice.uniform(0.2, 0.5), x + dice.uniform(0.2, 0.5), z, z + dice.uniform(0.4, 0.9))
    stage.block(Block(base, base, 0, dice.uniform(0.5, 1.3)), dice.vary(dice.pick(WALLS), 40))
