"""One scene: what stands where in the street, drawn from far to near.

Colour alone never gives a class away: houses, cars and clothes share their colours, and light and haze change from
image to image. Shadows, windows, lane marks and joints put edges where no class ends.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from data.scenes import furniture, street, things
from data.scenes.canvas import Camera, Canvas, Dice, Stage
from data.scenes.expose import expose

Actor = tuple[float, Callable[[], None]]  # depth, what draws it


def draw_scene(
    seed: int, split: int, index: int, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw image number `index` of a split.

    Returns the image uint8 (H, W, 3) RGB, label ids uint8 (H, W) and instance ids uint16 (H, W) as in Cityscapes.
    """
    dice = Dice(seed, split, index)
    lit = dice.pick(("left", "right"))
    canvas = Canvas(
        2 * width,
        2 * height,
        haze=dice.vary(dice.pick(((196, 204, 212), (180, 180, 178), (206, 196, 180)))),
    )
    camera = Camera(
        width=2 * width,
        height=2 * height,
        focal=2.1 * width,
        horizon=2 * height * dice.uniform(0.4, 0.48),
        above=dice.uniform(1.25, 1.6),
        bend=dice.pick((0.0, dice.uniform(-0.0016, 0.0016))),
    )
    stage = Stage(dice, camera, canvas, lit)
    sides = _scenery(stage)
    for _, draw in sorted(_actors(stage, sides), key=lambda actor: -actor[0]):
        draw()
    _ego_vehicle(stage)
    return expose(dice, canvas)


def _scenery(stage: Stage) -> tuple[street.Side, street.Side]:
    """Sky, ground, houses and barriers; returns the two sides of the street."""
    dice = stage.dice
    sky = dice.pick(((92, 134, 190), (150, 172, 196), (186, 190, 194), (120, 128, 140)))
    street.sky(stage, dice.vary(sky), stage.canvas.haze)
    sides = (_side(dice, -1), _side(dice, 1))
    kerbs = (-sides[0].kerb, sides[1].kerb)
    tarmac = dice.vary(dice.pick(((92, 92, 94), (112, 108, 104), (78, 78, 84))))
    street.ground(
        stage,
        sides,
        tarmac,
        dice.vary(dice.pick(((150, 144, 138), (128, 128, 130), (158, 138, 124)))),
    )
    street.markings(stage, tarmac, kerbs, dice.uniform(7, 24) if dice.chance(0.25) else None)
    _shadows(stage, sides)
    street.backdrop(stage, green=dice.chance(0.4))
    for side in sides:
        for _ in range(0 if side.houses else 24):
            furniture.tree(stage, side.x(side.walk + dice.uniform(3, 24)), dice.uniform(12, 90))
        if side.houses:
            street.house_row(stage, side)
        _border(stage, side)
    return sides


def _side(dice: Dice, sign: int) -> street.Side:
    lane = dice.uniform(1.7, 2.1)
    parking = dice.pick((0.0, 0.0, 2.2, 2.2))
    kerb = lane + parking + (3.6 if sign < 0 else 0.0)
    walk = kerb + dice.uniform(2.2, 4.5)
    kind = dice.pick(
        ("", "", "", "green", "green", "hedge", "fence", "fence", "wall", "wall", "guard rail")
    )
    front = walk + (dice.uniform(2, 8) if kind else 0.0)
    return street.Side(sign, kerb, walk, front, kind, dice.chance(0.75))


def _border(stage: Stage, side: street.Side) -> None:
    """The fence, wall, hedge or guard rail between sidewalk and terrain, in pieces, from far to near."""
    dice = stage.dice
    if side.kind in ("", "green"):
        return
    pieces, z = [], dice.uniform(2.6, 9)
    while z < 50:
        long = dice.uniform(5, 18)
        pieces.append((z, z + long))
        z += long + dice.uniform(0.5, 9)
    for z0, z1 in reversed(pieces):
        if side.kind == "hedge":
            furniture.hedge(stage, side.x(side.walk + 0.3), z0, z1)
        else:
            furniture.barrier(stage, side.kind, side.x(side.walk), z0, z1)


def _shadows(stage: Stage, sides: tuple[street.Side, street.Side]) -> None:
    """What the houses and trees of the sunny side throw on the road, on some days."""
    dice, camera, canvas = stage.dice, stage.camera, stage.canvas
    if dice.chance(0.4):
        return
    side, percent = sides[0 if stage.lit == "left" else 1], dice.whole(48, 75)
    z = 2.2
    while z < 60:
        long, reach = dice.uniform(2, 16), dice.uniform(-3, side.front)
        if dice.chance(0.6):
            x0, x1 = side.x(side.front + 1), side.x(side.front - reach)
            canvas.shade(
                camera.points(
                    (x0, 0, z), (x1, 0, z + 1.5), (x1, 0, z + long + 1.5), (x0, 0, z + long)
                ),
                percent,
            )
        z += long


def _actors(stage: Stage, sides: tuple[street.Side, street.Side]) -> list[Actor]:
    """(depth, draw) of everything on road and sidewalks, in no order."""
    actors = _traffic(stage, sides)
    for side in sides:
        actors += _parked(stage, side) + _furniture(stage, side) + _walkers(stage, side)
    return actors


def _traffic(stage: Stage, sides: tuple[street.Side, street.Side]) -> list[Actor]:
    """Our lane and the one that comes towards us, and whoever crosses the road."""
    dice, actors = stage.dice, []
    for x, oncoming in ((0.0, False), (-3.6, True)):
        z = dice.uniform(8, 40)
        while z < 90:
            kinds = (things.car,) * 13 + (things.bus, things.bus, things.truck, things.train)
            kind = dice.pick(kinds)
            actors.append(
                (z, partial(kind, stage, x + dice.uniform(-0.3, 0.3), z, oncoming=oncoming))
            )
            z += (30 if kind in (things.bus, things.train) else 12) + dice.uniform(0, 40)
    for _ in range(dice.pick((0, 1, 1, 2, 2))):
        edge = sides[1].kerb - 0.8 if dice.chance(0.6) else -sides[0].kerb + 0.8
        z, kind = (
            dice.uniform(7, 32),
            dice.pick((things.bicycle, things.bicycle, things.motorcycle)),
        )
        actors.append((z, partial(kind, stage, edge - 0.6 + dice.uniform(0, 0.6), z, ridden=True)))
    if dice.chance(0.2):
        z, x = dice.uniform(8, 30), dice.uniform(-5, 2)
        actors += [
            (
                z + i * 0.3,
                partial(things.person, stage, x + i * dice.uniform(0.4, 1.2), z + i * 0.3),
            )
            for i in range(3)
        ]
    return actors


def _parked(stage: Stage, side: street.Side) -> list[Actor]:
    """A row of vehicles along the kerb, and cycles on the sidewalk."""
    dice, actors = stage.dice, []
    if side.kerb > (5.5 if side.sign < 0 else 3.5):
        z = dice.uniform(5, 16)
        while z < 80:
            if dice.chance(0.7):
                kind = things.car if dice.chance(0.95) else things.truck
                actors.append(
                    (z, partial(kind, stage, side.x(side.kerb - 1.05), z, oncoming=side.sign < 0))
                )
            z += dice.uniform(5.0, 7.5)
    for _ in range(dice.pick((0, 0, 0, 1, 2))):
        z, kind = dice.uniform(7, 26), things.motorcycle if dice.chance(0.25) else things.bicycle
        for i in range(dice.whole(1, 3)):
            actors.append(
                (
                    z + 0.6 * i,
                    partial(kind, stage, side.x(side.kerb + 0.7), z + 0.6 * i, ridden=False),
                )
            )
    return actors


def _furniture(stage: Stage, side: street.Side) -> list[Actor]:
    """Lamps, lights, signs, posts, street trees and clutter along the kerb."""
    dice, actors = stage.dice, []
    z, pitch, row = (
        dice.uniform(8, 22),
        dice.uniform(14, 26),
        dice.pick((furniture.lamp, furniture.lamp, furniture.tree, None)),
    )
    while row and z < 90:
        actors.append((z, partial(row, stage, side.x(side.kerb + 0.6), z)))
        z += pitch
    for draw, chance in (
        (furniture.traffic_light, 0.35),
        (furniture.traffic_sign, 0.6),
        (furniture.traffic_sign, 0.4),
        (furniture.clutter, 0.5),
    ):
        if dice.chance(chance):
            z = dice.uniform(6, 34)
            actors.append((z, partial(draw, stage, side.x(side.kerb + dice.uniform(0.3, 0.9)), z)))
    if dice.chance(0.25):  # a row of bollards
        actors += [
            (float(z), partial(furniture.pole, stage, side.x(side.kerb + 0.3), float(z), 0.95))
            for z in range(6, 24, 2)
        ]
    return actors


def _walkers(stage: Stage, side: street.Side) -> list[Actor]:
    """People in ones, twos and threes, overlapping; far crowds that nobody could tell apart."""
    dice, actors = stage.dice, []
    for _ in range(dice.pick((1, 2, 3, 4, 6))):
        z, x = dice.uniform(6, 50), dice.uniform(side.kerb + 0.5, side.walk - 0.3)
        for _ in range(dice.pick((1, 1, 2, 3))):
            actors.append((z, partial(things.person, stage, side.x(x), z)))
            x, z = x + dice.uniform(0.25, 0.7), z + dice.uniform(0.05, 0.6)
    if dice.chance(0.15):
        x, z = side.x(side.walk - 0.5), dice.uniform(55, 75)
        actors += [(z, partial(things.person, stage, x + 0.4 * i, z, group=True)) for i in range(5)]
    return actors


def _ego_vehicle(stage: Stage) -> None:
    """The bonnet of the car that carries the camera, along the bottom."""
    dice, canvas, camera = stage.dice, stage.canvas, stage.camera
    canvas.begin("ego vehicle")
    high, color = camera.height * 9 // 100, (44, 46, 52)
    rise = ((0, 0.35), (0.12, 0.62), (0.3, 0.88), (0.5, 1.0), (0.7, 0.88), (0.88, 0.62), (1, 0.35))
    for part, light in ((1.0, 100), (0.85, 130), (0.6, 90), (0.3, 70)):
        top = [(round(camera.width * a), camera.height - round(high * b * part)) for a, b in rise]
        canvas.fill(
            [*top, (camera.width, camera.height), (0, camera.height)],
            tuple(c * light // 100 for c in color),
        )
    shine = dice.whole(camera.width // 5, camera.width * 3 // 5)
    canvas.detail(
        [
            (shine, camera.height - high // 2),
            (shine + 60, camera.height - high // 2),
            (shine + 40, camera.height),
        ],
        (96, 100, 108),
    )
