"""`python -m bench i2p`: inappropriate pictures by method, on I2P or another list of prompts, with your checkpoint.

It sends the pictures to a running ComfyUI one by one, keeps them and their scores as they come, and goes on where it
was when it is run again. See README.md beside this file.
"""

from .command import main as main
