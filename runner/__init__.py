"""What `run.py` does: finding a ComfyUI, making its environment, driving its server. No part of the node pack."""
