"""Fitted defaults of a run: chosen when it starts, taken over when it resumes, printed as flags."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data.base import Dataset
from data.errors import InputError
from models import MODELS
from utils.distributed.environment import Ranks
from utils.distributed.group import from_main
from utils.training.args import TrainArgs
from utils.training.progress_lines import plural
from utils.training.recipes.facts import find_facts, find_pretrained, usable_cores
from utils.training.recipes.fitted import (
    Facts,
    Fitted,
    cpu_minutes,
    fit,
    steps_in_all,
    workers_for,
)
from utils.training.run_dir import LAST, PREVIOUS
from utils.training.setup import split_of

LONGER = 4  # times the epochs that are fitted: what is advised on a CPU


def fit_defaults(args: TrainArgs, train_set: Dataset, ranks: Ranks, device: str) -> None:
    """Give the flags in `args.fitted` their values, and leave in it those that were chosen.

    The main rank chooses for all. A run that resumes keeps the values that it was started with,
    whatever has become of data and machine.
    """
    if not args.fitted:
        return

    def chosen() -> tuple[dict[str, Any], list[str]]:
        earlier = flags_of_run(args)
        if earlier is not None:
            return taken_over(args, earlier, device)
        return newly_chosen(args, train_set, ranks, device)

    values, lines = from_main(chosen, ranks)
    for name, value in values.items():
        setattr(args, name, value)
    args.fitted = list(values)
    if ranks.is_main:
        for line in lines:
            print(line, flush=True)


def newly_chosen(
    args: TrainArgs, train_set: Dataset, ranks: Ranks, device: str
) -> tuple[dict[str, Any], list[str]]:
    """The values of the open flags, and the lines that say so."""
    task = MODELS[args.model].task
    val_images, notes = _val_images(args)
    pretrained = args.pretrained
    if "pretrained" in args.fitted:
        pretrained, why = ("none", "") if args.init_from else find_pretrained(args.backbone, task)
        notes += [f"note: {why}; starting from random weights"] if why else []
    facts = find_facts(
        train_set,
        val_images,
        task=task,
        device=device,
        world=ranks.world,
        pretrained=pretrained,
    )
    require_images(args, facts)
    fitted = fit(facts, vars(args), args.fitted)
    values = {name: fitted.values[name] for name in fitted.chosen}
    return values, [*notes, *describe(facts, fitted)]


def require_images(args: TrainArgs, facts: Facts) -> None:
    """InputError for a single image where batch normalisation needs two."""
    needs_two = facts.task == "seg" and not (args.freeze_bn or args.model.startswith("fcn"))
    if needs_two and facts.images < 2:
        raise InputError(
            f"the training split has 1 image, and {args.model} needs two: it pools whole images, "
            "whose batch normalisation cannot do with one; add images, or train --model fcn"
        )


def _val_images(args: TrainArgs) -> tuple[int, list[str]]:
    """The number of images to validate on; 0, with a note, where the split is empty."""
    if "val_every" not in args.fitted:
        return 1, []
    try:
        records = split_of(args, args.val_split).records
    except InputError as error:
        if args.val_split != "val":
            raise
        reason = str(error)
    else:
        if any(record.label is not None for record in records):
            return len(records), []
        reason = f"no image of the split {args.val_split!r} has a label map"
    return 0, [f"note: nothing is validated, and last.pth is the result, no best.pth: {reason}"]


def flags_of_run(args: TrainArgs) -> Mapping[str, Any] | None:
    """The flags of the run that this command resumes, from its args.json; None: it starts one."""
    if args.resume is None:
        return None
    named = args.resume not in ("auto", "last")
    folder = Path(args.resume).parent if named else Path(args.run_dir)
    if not named and not any((folder / name).is_file() for name in (LAST, PREVIOUS)):
        return None
    try:
        flags = json.loads((folder / "args.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return flags if isinstance(flags, dict) and isinstance(flags.get("fitted"), list) else None


def taken_over(
    args: TrainArgs, earlier: Mapping[str, Any], device: str
) -> tuple[dict[str, Any], list[str]]:
    """The values that were fitted when the run was started; workers are this machine's."""
    names = [name for name in earlier["fitted"] if name in args.fitted and name in earlier]
    values = {name: earlier[name] for name in names}
    if "workers" in values:
        values["workers"] = workers_for(device, usable_cores())
    return values, [f"recipe of the run that is resumed: {as_flags(values)}"] if values else []


def describe(facts: Facts, fitted: Fitted) -> list[str]:
    """What was chosen, as flags that can be pasted, and why."""
    machine = "a CPU" if facts.on_cpu else "a GPU"
    values = {name: fitted.values[name] for name in fitted.chosen}
    lines = [
        f"recipe chosen for {plural(facts.images, 'image')}, {sizes_in_words(facts.sizes)}, on "
        f"{machine}: {as_flags(values)}"
    ]
    reasons = list(fitted.reasons)
    if "epochs" in values:
        reasons.append(length_in_words(facts, fitted))
    if reasons:
        lines.append(f"  because: {'; '.join(reasons)}")
    return lines


def length_in_words(facts: Facts, fitted: Fitted) -> str:
    """How long the run takes, and how to make it longer."""
    epochs = fitted.values["epochs"]
    text = f"{plural(epochs, 'epoch')}: {plural(steps_in_all(facts, fitted.values), 'step')}"
    if not facts.on_cpu:
        return f"{text}; a longer run, with --epochs, is better"
    minutes = max(1, round(cpu_minutes(facts, fitted.values)))
    took = plural(minutes, "minute") if minutes < 100 else f"{minutes / 60:.0f} hours"
    return f"{text}, about {took} on two idle cores; --epochs {LONGER * epochs} is better"


def sizes_in_words(sizes: Iterable[tuple[int, int]]) -> str:
    """ "all 480x360", "mostly 480x360", or "320x240 to 8000x6000"; width before height."""
    counts = Counter((width, height) for height, width in sizes)
    (width, height), most = counts.most_common(1)[0]
    if most == counts.total():
        return f"all {width}x{height}"
    if most * 2 > counts.total():
        return f"mostly {width}x{height}"
    by_area = sorted(counts, key=lambda size: (size[0] * size[1], size))
    return " to ".join(f"{width}x{height}" for width, height in (by_area[0], by_area[-1]))


def as_flags(values: Mapping[str, Any]) -> str:
    """{"crop_size": 160, "gblur": False} -> "--crop-size 160 --no-gblur"."""
    return " ".join(_as_flag(name.replace("_", "-"), value) for name, value in values.items())


def _as_flag(flag: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    if isinstance(value, list | tuple):
        return f"--{flag} {' '.join(map(_number, value))}"
    return f"--{flag} {_number(value)}"


def _number(value: Any) -> str:
    """0.75; 2.0 is 2."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
