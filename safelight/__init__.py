"""The maths of Safelight. Imports torch, numpy, einops, safetensors and tokenizers; nothing of ComfyUI."""
