"""I2P or another prompt list through a running ComfyUI: see README.md beside this file."""

from .command import main as main
