"""A full disk, without filling one."""

import contextlib
import resource
import signal


@contextlib.contextmanager
def no_file_above(size):
    """Within it, writing beyond `size` bytes of any file fails (EFBIG), as it does where a disk is full.

    Not to be left open by a fixture: pytest reports a test before its fixtures end, and its own output may be a file
    longer than this.
    """
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
