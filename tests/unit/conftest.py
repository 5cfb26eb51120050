"""Lets the tests `import safelight` without a host; at the end of sys.path, because `nodes` is the host's name too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
