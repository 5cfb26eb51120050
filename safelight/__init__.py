"""The maths of Safelight. Imports torch, numpy, einops and the standard library; nothing of ComfyUI."""
