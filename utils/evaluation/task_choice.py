"""Which tasks and edges a run of `test.py` scores, and which flags have no effect on them.

What the command line alone can say is refused in `args`; here the network is known, too.
"""

from collections.abc import Mapping

from data.errors import InputError
from utils.evaluation.args import BOUNDS, PROTOCOL, REGION, TASKS, ScoreArgs
from utils.evaluation.edges.derived import HEAD, RULES
from utils.inference.predictor import Predictor

# Flags that say what is scored, with their defaults: without effect where no edges are scored, and
# where no label maps are.
EDGE_FLAGS = {
    "protocol": PROTOCOL,
    **dict.fromkeys(("max_dist", "eval_scale", "margin", "thin", "raw", "crisp", "instance")),
    **dict.fromkeys(("skip_absent", "kill_internal", "ap", "calibration", "fit_temperature")),
    "temperature": None,
}
SEG_FLAGS = {"bounds": BOUNDS, "boundary_iou": REGION}


def chosen_tasks(args: ScoreArgs, predictor: Predictor | None) -> tuple[str, ...]:
    """The tasks of this run, "seg" before "edge"; both only for a net with an edge head.

    Raises InputError if the checkpoint is for the other task, or a flag of edges is given without.
    """
    tasks = _tasks_of(args, predictor)
    if "seg" in tasks and args.classes:
        remedy = "; add --task edge" if len(tasks) > 1 else ""
        raise InputError(f"--classes is for edges; scores of label maps are of all classes{remedy}")
    if tasks == ("seg",) and (flag := _given(args, EDGE_FLAGS)):
        made = "written; leave it out" if args.submit else "scored; add --task edge"
        if predictor and predictor.info.has_edge_head and not predictor.has_edge_head:
            made = "all that the graph gives; export it again with --outputs seg fuse"
        raise InputError(f"{flag} is for edges, and label maps are {made}")
    if args.submit and (flag := _given(args, {"derived": None, **SEG_FLAGS})):
        raise InputError(f"{flag} is for scores, and --submit writes label maps; leave it out")
    if tasks == ("edge",) and (flag := _given(args, SEG_FLAGS)):
        raise InputError(f"{flag} is for label maps, and edges are scored; leave it out")
    if len(tasks) > 1 and args.labels:
        raise InputError(
            f"{args.checkpoint} is for both tasks, but --labels {args.labels} are the ground truth "
            "of one; add --task edge or --task seg"
        )
    return tasks


def _given(args: ScoreArgs, flags: Mapping[str, object]) -> str:
    """The first of these flags that has another value than its default; "" if none has.

    A switch that is turned off asks for nothing.
    """
    for name, usual in flags.items():
        value = getattr(args, name)
        value = tuple(value) if isinstance(value, list) else value
        if value is not False and value != usual:
            return f"--{name.replace('_', '-')}"
    return ""


def _tasks_of(args: ScoreArgs, predictor: Predictor | None) -> tuple[str, ...]:
    if predictor is None:
        return (args.task or "edge",)
    if args.task == "seg" and predictor.task == "edge":
        raise InputError(
            f"{args.checkpoint} is for the task edge, but --task says seg; leave --task out"
        )
    if args.submit and predictor.task == "seg":
        return ("seg",)
    if args.task:
        return (args.task,)
    if predictor.has_edge_head:
        return TASKS[::-1]
    return ("edge",) if args.derived else (predictor.task,)


def chosen_variants(args: ScoreArgs, predictor: Predictor) -> tuple[str, ...]:
    """Which edges of a net are scored: HEAD, then derived ones as `--derived` says.

    InputError if edges are to be derived from a net that has no segmentation, and if the head's
    edges were not exported: outlines in their place would be scores of something else.
    """
    if predictor.task == "edge":
        if args.derived:
            raise InputError(
                f"{args.checkpoint} holds {predictor.info.name}, a network for edges; --derived "
                "wants one for segmentation"
            )
        return (HEAD,)
    derived = tuple(rule for rule in RULES if rule in (args.derived or ()))
    if predictor.has_edge_head:
        return (HEAD, *derived)
    if predictor.info.has_edge_head and not derived:
        raise InputError(
            f"{args.checkpoint}: its net has the edge head {predictor.info.edge_head}, but the "
            f"graph has the outputs {', '.join(predictor.engine.outputs)} alone; export it again "
            "with --outputs seg fuse, or add --derived hard soft for the edges of its label maps"
        )
    return derived or tuple(RULES)
