"""``python -m facelib``: the command ``facelib``."""

import os
import sys

# Python puts the working directory first, where a file of any package's name would run in its place.
if sys.path[0] == os.getcwd() != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

from facelib.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
