"""A ComfyUI small enough to clone and start in a test: source folder, HTTP server, repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MAIN = """
import argparse, http.server, json, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--base-directory")
options, _ = parser.parse_known_args()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        packs = os.listdir(os.path.join(options.base_directory, "custom_nodes"))
        body = json.dumps({"packs": packs, "argv": sys.argv}).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass

print("starting", flush=True)
http.server.HTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
"""


def make_checkout(folder: Path, version: str = "9.8.7", main: str = MAIN) -> Path:
    """Writes a folder that looks like ComfyUI's source and whose main.py runs `main`."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(main)
    (folder / "comfy" / "cli_args.py").write_text('parser.add_argument("--base-directory")\n')
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    (folder / "requirements.txt").write_text(
        "torch\ntorchvision\ntorchaudio\naiohttp>=3  # server\n\n# optional:\nspandrel\n"
    )
    return folder


def make_repository(folder: Path, tag: str) -> Path:
    """A bare repository with a checkout's files under one tag."""
    source = make_checkout(folder / "source")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "one"), ("tag", tag)):
        subprocess.run(["git", *command], cwd=source, check=True)
    bare = folder / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(bare)], check=True)
    return bare
