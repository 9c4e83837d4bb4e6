"""Where the time of a training step goes: a trace of a few steps.

To be looked at in chrome://tracing or https://ui.perfetto.dev.
"""

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from data.files import write_aside

# Steps: the first ones allocate memory and choose kernels; the profiler needs one to warm up.
SKIPPED = 2
WARMED = 1
TRACED = 3


class Trace:
    """Writes trace.json of the first steps within `with`, and prints the slowest operations.

    Does nothing if not enabled, or if the file exists.
    """

    def __init__(self, folder: Path, *, enabled: bool) -> None:
        self.path = folder / "trace.json"
        self.profile: profile | None = None
        if enabled and not self.path.exists():
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            steps = schedule(wait=SKIPPED, warmup=WARMED, active=TRACED, repeat=1)
            self.profile = profile(
                activities=activities,
                schedule=steps,
                on_trace_ready=self._write,
                profile_memory=True,
                acc_events=True,
            )

    def __enter__(self) -> "Trace":
        if self.profile is not None:
            self.profile.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.profile is not None:
            self.profile.stop()

    def step(self) -> None:
        """A step is over."""
        if self.profile is not None:
            self.profile.step()

    def _write(self, traced: profile) -> None:
        with write_aside(self.path) as aside:
            traced.export_chrome_trace(str(aside))
        print(traced.key_averages().table(sort_by="self_cpu_time_total", row_limit=12), flush=True)
        print(f"trace: {self.path}", flush=True)
