#!/usr/bin/env python
"""Track every object in a video of yours; the same as the command ``effowt-track`` of an installed package."""

import sys

from effowt_d2.cli.track import main

if __name__ == "__main__":
    sys.exit(main())
