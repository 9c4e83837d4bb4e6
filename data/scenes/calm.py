"""A calm street: fewer, nearer and larger objects, of the eleven most common classes.

A small net learns it in minutes (`make demo`). Drawn as all scenes are; only what stands where is
chosen here: cars alone in the lanes, people one by one, no vehicle farther than some 20 metres.
"""

from functools import partial

from data.scenes import furniture, people, vehicles
from data.scenes.choices import SceneRandom
from data.scenes.stage import Actor, Stage
from data.scenes.street import Side


def side(rng: SceneRandom, sign: int) -> Side:
    """One side of the street: a sidewalk, often grass, and houses or trees."""
    kerb = rng.uniform(2.0, 2.6) + (3.0 if sign < 0 else 0.0)
    walk = kerb + rng.uniform(2.2, 3.4)
    green = rng.chance(0.5)
    front = walk + (rng.uniform(3, 7) if green else 0.0)
    return Side(sign, kerb, walk, front, "green" if green else "", rng.chance(0.7))


def actors(stage: Stage, sides: tuple[Side, Side]) -> list[Actor]:
    """(depth, draw) of everything on road and sidewalks, in no order."""
    rng = stage.rng
    found: list[Actor] = []
    if rng.chance(0.75):  # ahead of us
        z = rng.uniform(6, 13)
        x = rng.uniform(-0.2, 0.5)
        found.append((z, partial(vehicles.car, stage, x, z, oncoming=False)))
    if rng.chance(0.75):
        z = rng.uniform(8, 17)
        found.append((z, partial(vehicles.car, stage, -3.3, z, oncoming=True)))
    if rng.chance(0.3):  # crosses the road
        z = rng.uniform(6, 10)
        found.append((z, partial(people.person, stage, rng.uniform(-3.5, 1.8), z)))
    for each in sides:
        found += _sidewalk(stage, each)
    return found


def _sidewalk(stage: Stage, side: Side) -> list[Actor]:
    """People, lamps or trees, a sign or a traffic light, each by itself."""
    rng = stage.rng
    found: list[Actor] = []
    nearest = 12.5 if side.sign < 0 else 6.0  # from where on the sidewalk is in the image
    for _ in range(rng.pick((0, 1, 1, 2))):
        z, x = rng.uniform(nearest, nearest + 7), rng.uniform(side.kerb + 0.9, side.walk - 0.4)
        found.append((z, partial(people.person, stage, side.x(x), z)))
    row = rng.pick((furniture.lamp, furniture.lamp, furniture.tree))
    z = rng.uniform(nearest, nearest + 6)
    for depth in (z, z + 14):
        found.append((depth, partial(row, stage, side.x(side.kerb + 0.5), depth)))
    for draw, probability in ((furniture.traffic_sign, 0.5), (furniture.traffic_light, 0.35)):
        if rng.chance(probability):
            z = rng.uniform(nearest, nearest + 5)
            found.append((z, partial(draw, stage, side.x(side.kerb + 0.4), z)))
    return found
