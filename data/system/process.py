"""Worker processes end with the process that started them, however that one ends."""

import contextlib
import multiprocessing
import os
import threading
import time

CHECK_SECONDS = 1.0


def end_with_parent(parent: int | None = None) -> None:
    """End this process, at the latest after CHECK_SECONDS, when its parent has ended.

    To be called in a worker when it starts. A parent that is killed with SIGKILL cannot end its
    workers itself, and a worker that waits for work would wait for ever.

    parent: its process id, for workers that take a while to start: the parent may have ended
    before they get here. None: the parent as it is now.
    """
    # From the fork server, the default from Python 3.14 on, a worker's parent in the system's sense
    # is the server, which lives as long as the workers do.
    started_by = multiprocessing.parent_process()
    if started_by is not None and started_by.sentinel is None:
        started_by = None  # loky passes its workers no sentinel, which `is_alive` waits for
    if started_by is not None and not started_by.is_alive():  # it has ended before this line
        os._exit(1)
    known = os.getppid() if parent is None else parent

    def watch() -> None:
        # An orphan is given to another process. (On Windows the number stays; see `_is_alive`.)
        while os.getppid() == known and _is_alive(known):
            if started_by is not None and not started_by.is_alive():
                break
            time.sleep(CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def _is_alive(process: int) -> bool:
    if os.name != "nt":
        return True
    import ctypes

    synchronize, timed_out = 0x00100000, 0x102
    kernel = ctypes.windll.kernel32  # pyright: ignore[reportAttributeAccessIssue] (Windows only)
    handle = kernel.OpenProcess(synchronize, False, process)
    if not handle:
        return False
    with contextlib.ExitStack() as closing:
        closing.callback(kernel.CloseHandle, handle)
        return kernel.WaitForSingleObject(handle, 0) == timed_out
