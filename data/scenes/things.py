"""Vehicles and people: each function draws what stands at (x, z), in metres, with z its near end."""

from data.scenes.canvas import Block, Color, Cutout, Points, Stage, between, scaled

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
CLOTHES = (
    (30, 32, 40),
    (60, 66, 90),
    (150, 40, 44),
    (200, 196, 186),
    (70, 96, 70),
    (176, 120, 60),
    (96, 96, 100),
    (40, 90, 130),
)
SKIN = ((222, 184, 158), (196, 150, 118), (140, 98, 74), (96, 66, 50))
SIDES = ("left", "right")
HAIR = ((40, 30, 24), (90, 66, 40), (150, 130, 90), (60, 60, 64))
GLASS, TYRE, RED, LAMP, STEEL = (
    (58, 70, 84),
    (24, 24, 26),
    (170, 24, 24),
    (236, 232, 210),
    (90, 92, 96),
)


def car(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    dice, canvas = stage.dice, stage.canvas
    wide, long, waist, high = (
        dice.uniform(1.65, 1.85),
        dice.uniform(3.8, 4.7),
        dice.uniform(0.8, 0.95),
        1.45,
    )
    hood = dice.uniform(0.9, 1.3)
    boot = dice.pick((0.05, 0.1, 0.9))
    if dice.chance(0.2):  # a van
        hood, boot, high, long = 0.6, 0.05, 1.95, long + 0.4
    color = dice.vary(dice.pick(PAINT))
    x0, x1, z1 = x - wide / 2, x + wide / 2, z + long
    near, far = (hood, boot) if oncoming else (boot, hood)

    _ground_shadow(stage, x0, x1, z, z1)
    canvas.begin("car", z, group=z > 75)
    _wheels(stage, (x0, x1, z, z1), 0.32)
    body = stage.block(
        Block((x0, x1, z, z1), (x0 + 0.04, x1 - 0.04, z + 0.05, z1 - 0.05), 0.2, waist), color
    )
    base = (x0 + 0.06, x1 - 0.06, z + near, z1 - far)
    roof = (x0 + 0.22, x1 - 0.22, z + near + (0.7 if oncoming else 0.4), z1 - far - 0.5)
    cabin = stage.block(Block(base, roof, waist, high), color)
    for side in (side for side in cabin if side != "top"):
        canvas.detail(between(cabin[side], 0.08, 0.92, 0.1, 0.86), dice.vary(GLASS, 12))
        if side != "near":
            canvas.detail(between(cabin[side], 0.5, 0.54, 0.05, 0.95), scaled(color, 90))
    for side in (side for side in body if side in SIDES):
        canvas.detail(between(body[side], 0.52, 0.54, 0.15, 0.95), scaled(color, 55))
    _face_of_car(stage, body["near"], oncoming=oncoming)


def bus(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    _coach(stage, "bus", x, z, (2.5, 3.1, stage.dice.uniform(9, 12)), oncoming=oncoming)


def train(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    """A tram, with the rails that it runs on."""
    for left in (x - 0.77, x + 0.67):
        rail = stage.camera.points(
            (left, 0, 2.2), (left + 0.1, 0, 2.2), (left + 0.1, 0, z), (left, 0, z)
        )
        stage.canvas.detail(rail, (60, 58, 58))
    _coach(stage, "train", x, z, (2.6, 3.5, stage.dice.uniform(20, 30)), oncoming=oncoming)


def truck(stage: Stage, x: float, z: float, *, oncoming: bool) -> None:
    dice, canvas = stage.dice, stage.canvas
    long, high = dice.uniform(6, 9), dice.uniform(2.9, 3.7)
    cargo, cab = dice.vary(dice.pick(PAINT)), dice.vary(dice.pick(PAINT))
    x0, x1, z1 = x - 1.2, x + 1.2, z + long
    load = (x0, x1, z + 2.2, z1) if oncoming else (x0, x1, z, z1 - 2.2)
    front = (x0 + 0.1, x1 - 0.1, z, z + 2.0) if oncoming else (x0 + 0.1, x1 - 0.1, z1 - 2.0, z1)

    _ground_shadow(stage, x0, x1, z, z1)
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
    dice, canvas = stage.dice, stage.canvas
    color = dice.vary(dice.pick(PAINT[3:]))
    wide, high, long = size
    base = (x - wide / 2, x + wide / 2, z, z + long)
    _ground_shadow(stage, *base)
    canvas.begin(name, z)
    if name == "bus":
        _wheels(stage, base, 0.5)
    faces = stage.block(Block(base, base, 0.3, high), color)
    for side in (side for side in faces if side in SIDES):
        panes = 6 if name == "bus" else 12
        for pane in range(panes):
            glass = between(faces[side], (pane + 0.08) / panes, (pane + 0.92) / panes, 0.42, 0.82)
            canvas.detail(glass, dice.vary(GLASS, 10))
        canvas.detail(between(faces[side], 0, 1, 0.25, 0.3), scaled(color, 70))
    canvas.detail(between(faces["near"], 0.07, 0.93, 0.4, 0.8), GLASS)
    canvas.detail(
        between(faces["near"], 0.25, 0.75, 0.86, 0.95),
        (30, 30, 30) if oncoming else scaled(color, 60),
    )
    _lights(stage, faces["near"], LAMP if oncoming else RED, 0.12)


def _ground_shadow(stage: Stage, x0: float, x1: float, z0: float, z1: float) -> None:
    away = 0.5 if stage.lit == "left" else -0.5
    left, right = x0 + min(away, 0) - 0.1, x1 + max(away, 0) + 0.1
    quad = stage.camera.points(
        (left, 0, z0 - 0.25), (right, 0, z0 - 0.25), (right, 0, z1), (left, 0, z1)
    )
    stage.canvas.shade(quad, 45)


def _wheels(stage: Stage, base: tuple[float, float, float, float], radius: float) -> None:
    """The wheels on the side that we see, and the two at the near end from behind."""
    x0, x1, z0, z1 = base
    camera, canvas = stage.camera, stage.canvas
    for left in (x0 + 0.1, x1 - 0.3):
        canvas.fill(
            camera.points(
                (left, 0, z0), (left + 0.2, 0, z0), (left + 0.2, 0.5, z0), (left, 0.5, z0)
            ),
            TYRE,
        )
    for side in (side for side in Block(base, base, 0, 1).faces(camera) if side in SIDES):
        x = x0 if side == "left" else x1
        for z in (z0 + 0.9, z1 - 0.9):
            for part, color in ((1.0, TYRE), (0.55, (130, 130, 132))):
                canvas.fill(_wheel(stage, x, z, radius, radius * part), color)


def _wheel(stage: Stage, x: float, z: float, radius: float, reach: float) -> Points:
    ring = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))
    return stage.camera.points(*((x, radius + reach * b, z + reach * a) for a, b in ring))


def _face_of_car(stage: Stage, quad: Points, *, oncoming: bool) -> None:
    stage.canvas.detail(between(quad, 0.0, 1.0, 0.0, 0.16), (38, 38, 40))
    stage.canvas.detail(between(quad, 0.36, 0.64, 0.22, 0.42), (214, 214, 208))
    if oncoming:
        stage.canvas.detail(between(quad, 0.25, 0.75, 0.5, 0.75), (30, 30, 32))
    _lights(stage, quad, LAMP if oncoming else RED, 0.5)


def _lights(stage: Stage, quad: Points, color: Color, low: float) -> None:
    for left in (0.03, 0.81):
        stage.canvas.detail(
            between(quad, left, left + 0.16, low, low + 0.25 * max(low, 0.3)), color
        )


def person(stage: Stage, x: float, z: float, *, group: bool = False) -> None:
    dice, canvas = stage.dice, stage.canvas
    canvas.begin("person", z, group=group)
    tall = dice.uniform(1.0, 1.4) if dice.chance(0.12) else dice.uniform(1.55, 1.92)
    step = dice.uniform(-0.28, 0.28)
    figure = stage.upright(x, z)
    figure = Cutout(figure.u, figure.v, figure.scale * tall / 1.75)
    trousers, coat = dice.vary(dice.pick(CLOTHES)), dice.vary(dice.pick(CLOTHES))
    for foot, hip in ((step, 0.08), (-step, -0.08)):
        canvas.fill(
            figure.points((foot - 0.09, 0), (foot + 0.1, 0), (hip + 0.11, 0.9), (hip - 0.1, 0.9)),
            trousers,
        )
    _upper_body(stage, figure, coat, lean=0.0, hip=0.8)
    if dice.chance(0.3):  # a bag
        canvas.fill(
            figure.points((0.18, 0.75), (0.38, 0.75), (0.36, 1.1), (0.2, 1.1)),
            dice.vary(dice.pick(CLOTHES)),
        )


def bicycle(stage: Stage, x: float, z: float, *, ridden: bool) -> None:
    """A bicycle, seen from the side or shortened by its angle, and whoever rides it."""
    dice, canvas = stage.dice, stage.canvas
    figure, turn = stage.upright(x, z), dice.pick((0.3, 0.6, 0.85, 1.0, -0.6, -1.0))
    frame = dice.vary(dice.pick(PAINT))
    canvas.begin("bicycle", z)
    for hub in (-0.5 * turn, 0.5 * turn):
        rim = figure.disc(hub, 0.34, 0.34 * max(abs(turn), 0.2), 0.34)
        canvas.mark(rim)
        _outline(stage, rim, figure, TYRE)
    joints = ((-0.5, 0.34), (-0.15, 0.85), (0.4, 0.85), (0.5, 0.34), (-0.02, 0.32))
    tail, saddle, head, front, crank = ((px * turn, py) for px, py in joints)
    for start, end in (
        (tail, saddle),
        (saddle, head),
        (head, front),
        (tail, crank),
        (crank, saddle),
        (crank, head),
    ):
        canvas.fill(figure.bar(start, end, 0.05), frame)
    canvas.fill(figure.bar((head[0] - 0.1, 1.02), (head[0] + 0.1, 1.02), 0.05), STEEL)
    canvas.fill(figure.bar(head, (head[0], 1.02), 0.05), frame)
    canvas.fill(figure.bar((saddle[0] - 0.12, 0.95), (saddle[0] + 0.12, 0.95), 0.07), TYRE)
    if ridden:
        canvas.begin("rider", z)
        _rider(stage, figure, turn, crank, (saddle[0], 0.9))


def motorcycle(stage: Stage, x: float, z: float, *, ridden: bool) -> None:
    dice, canvas = stage.dice, stage.canvas
    figure, turn = stage.upright(x, z), dice.pick((0.6, 0.85, 1.0, -0.85))
    paint = dice.vary(dice.pick(PAINT))
    canvas.begin("motorcycle", z)
    for hub in (-0.65 * turn, 0.65 * turn):
        canvas.fill(figure.disc(hub, 0.32, 0.32 * max(abs(turn), 0.3), 0.32), TYRE)
        canvas.detail(figure.disc(hub, 0.32, 0.18 * max(abs(turn), 0.3), 0.18), STEEL)
    body = (
        (-0.7, 0.7),
        (-0.3, 0.3),
        (0.35, 0.3),
        (0.6, 0.75),
        (0.35, 0.98),
        (0.0, 0.8),
        (-0.6, 0.86),
    )
    canvas.fill(
        figure.points(*((px * turn + (0.08 if px > 0 else -0.08), py) for px, py in body)), paint
    )
    canvas.fill(figure.bar((0.45 * turn - 0.14, 1.05), (0.45 * turn + 0.14, 1.05), 0.07), STEEL)
    canvas.detail(figure.points((-0.6 * turn, 0.8), (0, 0.76), (0, 0.86), (-0.6 * turn, 0.9)), TYRE)
    if ridden:
        canvas.begin("rider", z)
        _rider(stage, figure, turn, (0.1 * turn, 0.35), (-0.2 * turn, 0.85))


def _rider(
    stage: Stage, figure: Cutout, turn: float, pedal: tuple[float, float], seat: tuple[float, float]
) -> None:
    dice, canvas = stage.dice, stage.canvas
    trousers = dice.vary(dice.pick(CLOTHES))
    knee = (seat[0] + 0.35 * turn, 0.75)
    canvas.fill(figure.bar(seat, knee, 0.17), trousers)
    canvas.fill(figure.bar(knee, (pedal[0], pedal[1] - 0.12), 0.14), trousers)
    raised = Cutout(round(figure.u + seat[0] * figure.scale), figure.v, figure.scale)
    _upper_body(stage, raised, dice.vary(dice.pick(CLOTHES)), lean=0.22 * turn, hip=seat[1] - 0.02)


def _upper_body(stage: Stage, figure: Cutout, coat: Color, *, lean: float, hip: float) -> None:
    """Trunk, arms and head on hips at height `hip`; the shoulders are `lean` metres to the right of the hips."""
    dice, canvas = stage.dice, stage.canvas
    neck, skin = hip + 0.62, dice.pick(SKIN)
    left, right = (-0.24 + lean, neck - 0.05), (0.24 + lean, neck - 0.05)
    canvas.fill(figure.points((-0.19, hip), (0.19, hip), right, (lean, neck + 0.02), left), coat)
    shady = 1 if stage.lit == "left" else -1
    canvas.detail(
        figure.points(
            (0.05 * shady, hip),
            (0.19 * shady, hip),
            (0.24 * shady + lean, neck - 0.05),
            (lean, neck),
        ),
        scaled(coat, 72),
    )
    for side in (-1, 1):
        shoulder = (0.22 * side + lean, neck - 0.06)
        hand = (0.27 * side + lean * 1.8 + dice.uniform(-0.08, 0.08), hip + 0.05 + abs(lean))
        canvas.fill(figure.bar(shoulder, hand, 0.1), scaled(coat, 88))
    canvas.fill(figure.bar((lean, neck - 0.02), (lean, neck + 0.1), 0.1), skin)
    canvas.fill(figure.disc(lean * 1.1, neck + 0.2, 0.1, 0.13), skin)
    canvas.detail(figure.disc(lean * 1.1, neck + 0.27, 0.1, 0.07), dice.pick(HAIR))


def _outline(stage: Stage, rim: Points, figure: Cutout, color: Color) -> None:
    """A thin ring in the image, through which what lies behind stays visible."""
    thick = max(2, round(0.05 * figure.scale))
    for (u0, v0), (u1, v1) in zip(rim, rim[1:] + rim[:1], strict=True):
        stage.canvas.detail(
            [(u0, v0), (u1, v1), (u1 + thick, v1 + thick), (u0 + thick, v0 + thick)], color
        )
