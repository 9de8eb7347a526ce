"""``python -m facelib``: the command ``facelib``."""

import sys

from facelib.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
