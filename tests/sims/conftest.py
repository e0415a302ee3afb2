"""What the tests share stands in stage.py, which is no test."""

import sys
from pathlib import Path

# importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))
