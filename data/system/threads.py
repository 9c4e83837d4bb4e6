"""How the threads of one process wait for each other."""

import os


def let_threads_sleep() -> None:
    """Have OpenMP's threads sleep while they wait; to be called before PyTorch is imported.

    By default they spin, which on a machine with other work (the loader's processes, too) takes
    the cores from those that they wait for: with a load of 6 to 13 on two cores, epochs took six
    times as long. A value of the user's stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
