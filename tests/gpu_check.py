"""Everything that needs a GPU, in one command that ends in a table and a JSON file to send.

    make test-gpu
    python tests/gpu_check.py --out gpu-check.json

The tests marked `gpu` (fast forms against definitions at four precisions, a resumed run, NCCL on
all devices, the losses) and the benchmarks that take `--device`. Exit status: 0 if all passed; 1 if
one failed, with the file written; 0 with one line and no file where there is no GPU, as nothing
failed there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_aside
from utils.distributed.environment import Ranks
from utils.training.records import describe_run

ROOT = Path(__file__).resolve().parents[1]
# Scripts in tests/benchmarks with their flags; one that has no --device is for CPUs, and left out.
BENCHMARKS: dict[str, list[str]] = {
    "train_step.py": ["--size", "640", "--batch-size", "2"],
    "inference.py": [],
}


def run_tests(*arguments: str) -> list[dict]:
    """Run pytest with these arguments; the name, outcome, seconds and message of each test."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={results}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if not results.exists():
            status = f"pytest ended with status {done.returncode}"
            return [{"name": "pytest", "outcome": "failed", "seconds": 0.0, "message": status}]
        return [_result(case) for case in ET.parse(results).iter("testcase")]


def _result(case: ET.Element) -> dict:
    result: dict = {
        "name": f"{case.get('classname')}::{case.get('name')}",
        "outcome": "passed",
        "seconds": float(case.get("time", 0)),
    }
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            result["outcome"] = outcome
            result["message"] = found.get("message", "")
    for entry in case.iter("property"):
        result[str(entry.get("name"))] = entry.get("value")
    return result


def run_benchmark(script: str, flags: list[str]) -> dict | None:
    """Run a benchmark on the GPU and keep what it prints; None if it has no --device."""
    path = ROOT / "tests" / "benchmarks" / script
    command = [sys.executable, str(path)]
    if not path.exists():
        return None
    usage = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    if "--device" not in usage.stdout:
        return None
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--device", "cuda", *flags], capture_output=True, text=True, check=False
    )
    print(done.stdout or done.stderr[-2000:], flush=True)
    return {
        "name": script,
        "outcome": "failed" if done.returncode else "passed",
        "seconds": round(time.perf_counter() - started, 2),
        "output": done.stdout,
        "message": done.stderr[-2000:] if done.returncode else "",
    }


def describe_gpus() -> list[dict]:
    """Name, memory and compute capability of each."""
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [
        {
            "name": gpu.name,
            "memory_gib": round(gpu.total_memory / 2**30, 1),
            "capability": f"{gpu.major}.{gpu.minor}",
        }
        for gpu in properties
    ]


def table(results: list[dict]) -> str:
    """One line for each file of tests and for each benchmark, then each failure's first line."""
    rows: dict[str, dict[str, float]] = {}
    for result in results:
        row = rows.setdefault(result["name"].partition("::")[0], dict.fromkeys(COLUMNS, 0))
        row[result["outcome"]] += 1
        row["seconds"] += result["seconds"]
    width = max(map(len, rows), default=0)
    lines = [f"{'':{width}}" + "".join(f"{name:>9}" for name in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:{width}}" + "".join(f"{row[column]:9.0f}" for column in COLUMNS))
    for result in results:
        if result["outcome"] == "failed":
            message = (result.get("message") or "").strip().splitlines()
            lines.append(f"FAILED {result['name']}: {message[0] if message else ''}")
    return "\n".join(lines)


COLUMNS = ("passed", "failed", "skipped", "seconds")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or `argv`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), metavar="FILE")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> int:
    """Run everything, print the table, write the file."""
    if not torch.cuda.is_available():
        print("no GPU here (torch.cuda.is_available() is false): nothing was run")
        return 0
    tests = run_tests("-m", "gpu", "tests")
    benchmarks = [run_benchmark(script, flags) for script, flags in BENCHMARKS.items()]
    results = [*tests, *(result for result in benchmarks if result is not None)]
    report = {
        **describe_run(Ranks(), "cuda"),
        "gpus": describe_gpus(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "results": results,
    }
    with write_aside(args.out) as aside:
        aside.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(results))
    print(f"please send: {args.out}")
    return int(any(result["outcome"] == "failed" for result in results))


if __name__ == "__main__":
    sys.exit(main(parse_args()))
