"""Builds the course as a web site in build/site, from the pages, the exercises, the docs and the docstrings.

    python tools/build_site.py                build/site, ready to be served from any folder of any host
    python tools/build_site.py --serve        then serves it on this computer
    python tools/build_site.py --only 01      executes this page alone, and shows the others without outputs
    python tools/build_site.py --stale        with the executed pages of the last build, whatever has changed since

Pages that have changed are executed first (minutes), and the model is exported for the browser where it has changed
(two more); the rest takes less than two. It needs the packages of the extra
`site`, and npm for what runs in the browser. The site asks nothing of any other host.

Not here: each step, which has a file in site/.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
SITE = BUILD / "site"

sys.path.insert(0, str(ROOT / "site"))
import executing  # noqa: E402
import finishing  # noqa: E402
import staging  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        help="execute the pages whose names begin so; show the others without outputs",
    )
    parser.add_argument("--stale", action="store_true", help="execute nothing")
    parser.add_argument("--serve", action="store_true", help="serve the finished site")
    options = parser.parse_args()
    cache = BUILD / "site-cache"
    pages = (
        sorted(cache.glob("*/*/*.ipynb")) if options.stale else executing.executed_pages(cache, options.only)
    )
    start = time.perf_counter()
    build(pages)
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"{time.perf_counter() - start:6.1f} s  {SITE.relative_to(ROOT)}, {size / 1e6:.1f} MB", flush=True)
    if options.serve:
        serve()
    return 0


def build(pages: list[Path]) -> None:
    source, static = BUILD / "site-source", BUILD / "site-static"
    shutil.rmtree(static, ignore_errors=True)
    shutil.copytree(ROOT / "site" / "static", static, ignore=shutil.ignore_patterns("sw.js"))
    for name in ("widgets/holding.js", "exercises/answer_form.js", "exercises/answer_form.css"):
        shutil.copy(ROOT / "minilora" / name, static)
    (static / "exercises").mkdir()
    for path in (ROOT / "exercises").glob("*.ipynb"):  # to be downloaded with the learner's answers in them
        shutil.copy(path, static / "exercises")
    for page in pages:
        shutil.copytree(page.parent / "states", static / "states", dirs_exist_ok=True)
    finishing.add_npm_packages(static, BUILD / "npm")
    numpy = finishing.add_numpy(static, BUILD / "npm")
    finishing.add_model(static, BUILD / "model")
    finishing.add_training(static, BUILD, BUILD / "model" / "model" / "model.onnx")
    finishing.add_package(static)
    staging.stage(pages, source, numpy, finishing.python_megabytes(static))
    shutil.rmtree(SITE / "_static", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-W", "-d", str(BUILD / "doctrees")]
    command += ["-c", str(ROOT / "site"), str(source), str(SITE)]
    subprocess.run(command, env=os.environ | {"MINILORA_SITE_STATIC": str(static)}, check=True)
    finishing.finish(SITE)


def serve() -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
