"""One scene: what stands where in the street, drawn from far to near.

Colour alone never gives a class away: houses, cars and clothes share their colours, and light and
haze change from image to image. Shadows, windows, lane marks and joints put edges where no class
ends.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from data.scenes import calm, furniture, people, street, vehicles
from data.scenes.canvas import Canvas
from data.scenes.choices import SceneRandom, scaled
from data.scenes.expose import expose
from data.scenes.stage import Actor, Camera, Stage


def draw_scene(
    seed: int, split: int, index: int, width: int, height: int, *, quiet: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw image number `index` of a split.

    Returns the image uint8 (H, W, 3) RGB, label ids uint8 (H, W) and instance ids uint16 (H, W),
    as in Cityscapes.

    Args:
        seed: of the set.
        split: position in `data.scenes.plan.PARTS`.
        index: of the image in its split.
        width: of the image, in pixels.
        height: of the image.
        quiet: a calm street, see `data.scenes.calm`.
    """
    rng = SceneRandom(seed, split, index)
    lit = rng.pick(("left", "right"))
    haze = rng.vary(rng.pick(((196, 204, 212), (180, 180, 178), (206, 196, 180))))
    canvas = Canvas(2 * width, 2 * height, haze)
    camera = Camera(
        width=2 * width,
        height=2 * height,
        focal=2.1 * width,
        horizon=2 * height * rng.uniform(0.4, 0.48),
        above=rng.uniform(1.25, 1.6),
        bend=rng.pick((0.0, rng.uniform(-0.0016, 0.0016))),
    )
    stage = Stage(rng, camera, canvas, lit)
    sides = _scenery(stage, calm.side if quiet else _side)
    actors = calm.actors if quiet else _actors
    for _, draw in sorted(actors(stage, sides), key=lambda actor: -actor[0]):
        draw()
    _ego_vehicle(stage)
    return expose(rng, canvas)


def _scenery(
    stage: Stage, side_of: Callable[[SceneRandom, int], street.Side]
) -> tuple[street.Side, street.Side]:
    """Sky, ground, houses and barriers; returns the two sides of the street."""
    rng = stage.rng
    sky = rng.pick(((92, 134, 190), (150, 172, 196), (186, 190, 194), (120, 128, 140)))
    street.sky(stage, rng.vary(sky), stage.canvas.haze)
    sides = (side_of(rng, -1), side_of(rng, 1))
    kerbs = (-sides[0].kerb, sides[1].kerb)
    tarmac = rng.vary(rng.pick(((92, 92, 94), (112, 108, 104), (78, 78, 84))))
    paving = rng.vary(rng.pick(((150, 144, 138), (128, 128, 130), (158, 138, 124))))
    street.ground(stage, sides, tarmac, paving)
    street.markings(stage, tarmac, kerbs, rng.uniform(7, 24) if rng.chance(0.25) else None)
    _shadows(stage, sides)
    street.backdrop(stage, green=rng.chance(0.4))
    for side in sides:
        for _ in range(0 if side.houses else 24):
            furniture.tree(stage, side.x(side.walk + rng.uniform(3, 24)), rng.uniform(12, 90))
        if side.houses:
            street.house_row(stage, side)
        _border(stage, side)
    return sides


def _side(rng: SceneRandom, sign: int) -> street.Side:
    """One side of the street. The oncoming lane, 3.6 metres wide, is on the left."""
    lane = rng.uniform(1.7, 2.1)
    parking = rng.pick((0.0, 0.0, 2.2, 2.2))
    kerb = lane + parking + (3.6 if sign < 0 else 0.0)
    walk = kerb + rng.uniform(2.2, 4.5)
    barriers = ("hedge", "fence", "fence", "wall", "wall", "guard rail")
    kind = rng.pick(("", "", "", "green", "green", *barriers))
    front = walk + (rng.uniform(2, 8) if kind else 0.0)
    return street.Side(sign, kerb, walk, front, kind, rng.chance(0.75))


def _border(stage: Stage, side: street.Side) -> None:
    """What stands between sidewalk and terrain (`side.kind`), in pieces, from far to near."""
    rng = stage.rng
    if side.kind in ("", "green"):
        return
    pieces, z = [], rng.uniform(2.6, 9)
    while z < 50:
        long = rng.uniform(5, 18)
        pieces.append((z, z + long))
        z += long + rng.uniform(0.5, 9)
    for z0, z1 in reversed(pieces):
        if side.kind == "hedge":
            furniture.hedge(stage, side.x(side.walk + 0.3), z0, z1)
        else:
            furniture.barrier(stage, side.kind, side.x(side.walk), z0, z1)


def _shadows(stage: Stage, sides: tuple[street.Side, street.Side]) -> None:
    """What the houses and trees of the sunny side throw on the road, on some days."""
    rng, camera, canvas = stage.rng, stage.camera, stage.canvas
    if rng.chance(0.4):
        return
    side, percent = sides[0 if stage.lit == "left" else 1], rng.whole(48, 75)
    z = 2.2
    while z < 60:
        long, reach = rng.uniform(2, 16), rng.uniform(-3, side.front)
        if rng.chance(0.6):
            x0, x1 = side.x(side.front + 1), side.x(side.front - reach)
            end = z + long
            slanted = ((x0, 0, z), (x1, 0, z + 1.5), (x1, 0, end + 1.5), (x0, 0, end))
            canvas.shade(camera.points(*slanted), percent)
        z += long


def _actors(stage: Stage, sides: tuple[street.Side, street.Side]) -> list[Actor]:
    """(depth, draw) of everything on road and sidewalks, in no order."""
    actors = _traffic(stage, sides)
    for side in sides:
        actors += _parked(stage, side) + _furniture(stage, side) + _walkers(stage, side)
    return actors


def _traffic(stage: Stage, sides: tuple[street.Side, street.Side]) -> list[Actor]:
    """Our lane and the one that comes towards us, and whoever crosses the road."""
    rng = stage.rng
    actors: list[Actor] = []
    kinds = (vehicles.car,) * 13 + (vehicles.bus, vehicles.bus, vehicles.truck, vehicles.train)
    for x, oncoming in ((0.0, False), (-3.6, True)):
        z = rng.uniform(8, 40)
        while z < 90:
            kind = rng.pick(kinds)
            offset = x + rng.uniform(-0.3, 0.3)
            actors.append((z, partial(kind, stage, offset, z, oncoming=oncoming)))
            z += (30 if kind in (vehicles.bus, vehicles.train) else 12) + rng.uniform(0, 40)
    for _ in range(rng.pick((0, 1, 1, 2, 2))):
        edge = sides[1].kerb - 0.8 if rng.chance(0.6) else -sides[0].kerb + 0.8
        z = rng.uniform(7, 32)
        kind = rng.pick((people.bicycle, people.bicycle, people.motorcycle))
        actors.append((z, partial(kind, stage, edge - 0.6 + rng.uniform(0, 0.6), z, ridden=True)))
    if rng.chance(0.2):
        z, x = rng.uniform(8, 30), rng.uniform(-5, 2)
        for i in range(3):
            depth = z + i * 0.3
            beside = x + i * rng.uniform(0.4, 1.2)
            actors.append((depth, partial(people.person, stage, beside, depth)))
    return actors


def _parked(stage: Stage, side: street.Side) -> list[Actor]:
    """A row of vehicles along the kerb, and cycles on the sidewalk."""
    rng = stage.rng
    actors: list[Actor] = []
    if side.kerb > (5.5 if side.sign < 0 else 3.5):
        z = rng.uniform(5, 16)
        while z < 80:
            if rng.chance(0.7):
                kind = vehicles.car if rng.chance(0.95) else vehicles.truck
                x = side.x(side.kerb - 1.05)
                actors.append((z, partial(kind, stage, x, z, oncoming=side.sign < 0)))
            z += rng.uniform(5.0, 7.5)
    for _ in range(rng.pick((0, 0, 0, 1, 2))):
        z = rng.uniform(7, 26)
        cycle = people.motorcycle if rng.chance(0.25) else people.bicycle
        x = side.x(side.kerb + 0.7)
        for i in range(rng.whole(1, 3)):
            depth = z + 0.6 * i
            actors.append((depth, partial(cycle, stage, x, depth, ridden=False)))
    return actors


def _furniture(stage: Stage, side: street.Side) -> list[Actor]:
    """Lamps, lights, signs, posts, street trees and clutter along the kerb."""
    rng = stage.rng
    actors: list[Actor] = []
    z = rng.uniform(8, 22)
    pitch = rng.uniform(14, 26)
    row = rng.pick((furniture.lamp, furniture.lamp, furniture.tree, None))
    while row and z < 90:
        actors.append((z, partial(row, stage, side.x(side.kerb + 0.6), z)))
        z += pitch
    for draw, probability in (
        (furniture.traffic_light, 0.35),
        (furniture.traffic_sign, 0.6),
        (furniture.traffic_sign, 0.4),
        (furniture.clutter, 0.5),
    ):
        if rng.chance(probability):
            z = rng.uniform(6, 34)
            x = side.x(side.kerb + rng.uniform(0.3, 0.9))
            actors.append((z, partial(draw, stage, x, z)))
    if rng.chance(0.25):  # a row of bollards
        x = side.x(side.kerb + 0.3)
        for depth in range(6, 24, 2):
            actors.append((depth, partial(furniture.pole, stage, x, float(depth), 0.95)))
    return actors


def _walkers(stage: Stage, side: street.Side) -> list[Actor]:
    """People in ones, twos and threes, overlapping; far crowds that nobody could tell apart."""
    rng = stage.rng
    actors: list[Actor] = []
    for _ in range(rng.pick((1, 2, 3, 4, 6))):
        z, x = rng.uniform(6, 50), rng.uniform(side.kerb + 0.5, side.walk - 0.3)
        for _ in range(rng.pick((1, 1, 2, 3))):
            actors.append((z, partial(people.person, stage, side.x(x), z)))
            x, z = x + rng.uniform(0.25, 0.7), z + rng.uniform(0.05, 0.6)
    if rng.chance(0.15):
        x, z = side.x(side.walk - 0.5), rng.uniform(55, 75)
        actors += [(z, partial(people.person, stage, x + 0.4 * i, z, group=True)) for i in range(5)]
    return actors


def _ego_vehicle(stage: Stage) -> None:
    """The bonnet of the car that carries the camera, along the bottom."""
    rng, canvas, camera = stage.rng, stage.canvas, stage.camera
    canvas.begin("ego vehicle")
    width, height = camera.width, camera.height
    high = height * 9 // 100
    rise = ((0, 0.35), (0.12, 0.62), (0.3, 0.88), (0.5, 1.0), (0.7, 0.88), (0.88, 0.62), (1, 0.35))
    for part, light in ((1.0, 100), (0.85, 130), (0.6, 90), (0.3, 70)):
        top = [(round(width * a), height - round(high * b * part)) for a, b in rise]
        canvas.fill([*top, (width, height), (0, height)], scaled((44, 46, 52), light))
    shine = rng.whole(width // 5, width * 3 // 5)
    level = height - high // 2
    canvas.detail([(shine, level), (shine + 60, level), (shine + 40, height)], (96, 100, 108))
