"""People and cycles: each function draws what stands at (x, z), in metres."""

from data.scenes.canvas import Points
from data.scenes.choices import Color, scaled
from data.scenes.stage import Cutout, Stage
from data.scenes.vehicles import PAINT, TYRE

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
HAIR = ((40, 30, 24), (90, 66, 40), (150, 130, 90), (60, 60, 64))
STEEL = (90, 92, 96)


def person(stage: Stage, x: float, z: float, *, group: bool = False) -> None:
    """A grown-up or a child on foot."""
    rng, canvas = stage.rng, stage.canvas
    canvas.begin("person", z, group=group)
    tall = rng.uniform(1.0, 1.4) if rng.chance(0.12) else rng.uniform(1.55, 1.92)
    step = rng.uniform(-0.28, 0.28)
    figure = stage.upright(x, z)
    figure = Cutout(figure.u, figure.v, figure.scale * tall / 1.75)
    trousers = rng.vary(rng.pick(CLOTHES))
    coat = rng.vary(rng.pick(CLOTHES))
    for foot, hip in ((step, 0.08), (-step, -0.08)):
        leg = ((foot - 0.09, 0), (foot + 0.1, 0), (hip + 0.11, 0.9), (hip - 0.1, 0.9))
        canvas.fill(figure.points(*leg), trousers)
    _upper_body(stage, figure, coat, lean=0.0, hip=0.8)
    if rng.chance(0.3):
        bag = figure.points((0.18, 0.75), (0.38, 0.75), (0.36, 1.1), (0.2, 1.1))
        canvas.fill(bag, rng.vary(rng.pick(CLOTHES)))


def bicycle(stage: Stage, x: float, z: float, *, ridden: bool) -> None:
    """A bicycle, seen from the side or shortened by its angle, and whoever rides it."""
    rng, canvas = stage.rng, stage.canvas
    figure = stage.upright(x, z)
    turn = rng.pick((0.3, 0.6, 0.85, 1.0, -0.6, -1.0))
    frame = rng.vary(rng.pick(PAINT))
    canvas.begin("bicycle", z)
    for hub in (-0.5 * turn, 0.5 * turn):
        rim = figure.disc(hub, 0.34, 0.34 * max(abs(turn), 0.2), 0.34)
        canvas.mark(rim)
        _outline(stage, rim, figure, TYRE)
    joints = ((-0.5, 0.34), (-0.15, 0.85), (0.4, 0.85), (0.5, 0.34), (-0.02, 0.32))
    tail, saddle, head, front, crank = ((px * turn, py) for px, py in joints)
    chain = ((tail, saddle), (saddle, head), (head, front))
    for start, end in (*chain, (tail, crank), (crank, saddle), (crank, head)):
        canvas.fill(figure.bar(start, end, 0.05), frame)
    canvas.fill(figure.bar((head[0] - 0.1, 1.02), (head[0] + 0.1, 1.02), 0.05), STEEL)
    canvas.fill(figure.bar(head, (head[0], 1.02), 0.05), frame)
    canvas.fill(figure.bar((saddle[0] - 0.12, 0.95), (saddle[0] + 0.12, 0.95), 0.07), TYRE)
    if ridden:
        canvas.begin("rider", z)
        _rider(stage, figure, turn, crank, (saddle[0], 0.9))


def motorcycle(stage: Stage, x: float, z: float, *, ridden: bool) -> None:
    """A motorcycle, and whoever rides it."""
    rng, canvas = stage.rng, stage.canvas
    figure = stage.upright(x, z)
    turn = rng.pick((0.6, 0.85, 1.0, -0.85))
    paint = rng.vary(rng.pick(PAINT))
    canvas.begin("motorcycle", z)
    for hub in (-0.65 * turn, 0.65 * turn):
        canvas.fill(figure.disc(hub, 0.32, 0.32 * max(abs(turn), 0.3), 0.32), TYRE)
        canvas.detail(figure.disc(hub, 0.32, 0.18 * max(abs(turn), 0.3), 0.18), STEEL)
    tank = ((0.6, 0.75), (0.35, 0.98), (0.0, 0.8), (-0.6, 0.86))
    outline = ((-0.7, 0.7), (-0.3, 0.3), (0.35, 0.3), *tank)
    body = ((px * turn + (0.08 if px > 0 else -0.08), py) for px, py in outline)
    canvas.fill(figure.points(*body), paint)
    canvas.fill(figure.bar((0.45 * turn - 0.14, 1.05), (0.45 * turn + 0.14, 1.05), 0.07), STEEL)
    canvas.detail(figure.points((-0.6 * turn, 0.8), (0, 0.76), (0, 0.86), (-0.6 * turn, 0.9)), TYRE)
    if ridden:
        canvas.begin("rider", z)
        _rider(stage, figure, turn, (0.1 * turn, 0.35), (-0.2 * turn, 0.85))


def _rider(
    stage: Stage, figure: Cutout, turn: float, pedal: tuple[float, float], seat: tuple[float, float]
) -> None:
    """Whoever sits on a cycle: one leg, and the upper body."""
    rng, canvas = stage.rng, stage.canvas
    trousers = rng.vary(rng.pick(CLOTHES))
    knee = (seat[0] + 0.35 * turn, 0.75)
    canvas.fill(figure.bar(seat, knee, 0.17), trousers)
    canvas.fill(figure.bar(knee, (pedal[0], pedal[1] - 0.12), 0.14), trousers)
    raised = Cutout(round(figure.u + seat[0] * figure.scale), figure.v, figure.scale)
    _upper_body(stage, raised, rng.vary(rng.pick(CLOTHES)), lean=0.22 * turn, hip=seat[1] - 0.02)


def _upper_body(stage: Stage, figure: Cutout, coat: Color, *, lean: float, hip: float) -> None:
    """Torso, arms and head, on hips at height `hip`, with shoulders `lean` metres to the right."""
    rng, canvas = stage.rng, stage.canvas
    neck = hip + 0.62
    skin = rng.pick(SKIN)
    left, right = (-0.24 + lean, neck - 0.05), (0.24 + lean, neck - 0.05)
    canvas.fill(figure.points((-0.19, hip), (0.19, hip), right, (lean, neck + 0.02), left), coat)
    shady = 1 if stage.lit == "left" else -1
    shoulder = (0.24 * shady + lean, neck - 0.05)
    shade = figure.points((0.05 * shady, hip), (0.19 * shady, hip), shoulder, (lean, neck))
    canvas.detail(shade, scaled(coat, 72))
    for side in (-1, 1):
        shoulder = (0.22 * side + lean, neck - 0.06)
        hand = (0.27 * side + lean * 1.8 + rng.uniform(-0.08, 0.08), hip + 0.05 + abs(lean))
        canvas.fill(figure.bar(shoulder, hand, 0.1), scaled(coat, 88))
    canvas.fill(figure.bar((lean, neck - 0.02), (lean, neck + 0.1), 0.1), skin)
    canvas.fill(figure.disc(lean * 1.1, neck + 0.2, 0.1, 0.13), skin)
    canvas.detail(figure.disc(lean * 1.1, neck + 0.27, 0.1, 0.07), rng.pick(HAIR))


def _outline(stage: Stage, rim: Points, figure: Cutout, color: Color) -> None:
    """A thin ring in the image, through which what lies behind stays visible."""
    thick = max(2, round(0.05 * figure.scale))
    for (u0, v0), (u1, v1) in zip(rim, rim[1:] + rim[:1], strict=True):
        quad = [(u0, v0), (u1, v1), (u1 + thick, v1 + thick), (u0 + thick, v0 + thick)]
        stage.canvas.detail(quad, color)
