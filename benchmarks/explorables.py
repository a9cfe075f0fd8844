"""From a key press to the new picture, in Chromium: each explorable of minilora in a real JupyterLab.

    python benchmarks/explorables.py [--moves N] [--only NAME] [--json FILE]

For each explorable it opens a notebook of one cell, and presses arrow keys on its sliders and lists. A move is timed in
the page, from the key event until the frame with the new picture has been painted, and starts from rest.
At the end it makes sure that nothing has leaked: live objects of the page after a garbage collection, and widgets of
the kernel, before and after the moves. Needs the dev packages, and Chromium: $CHROMIUM, or one that is on the path.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from page_parts import table
from playwright.sync_api import Page, sync_playwright

CELLS = {
    "parameter_explorer": "explorer = widgets.parameter_explorer()",
    "memory_explorer": "explorer = widgets.memory_explorer()",
    "lora_anatomy": "explorer = widgets.lora_anatomy()",
    "rank_explorer": "explorer = widgets.rank_explorer()",
    "quantization_explorer": "explorer = widgets.quantization_explorer()",
    "adapter_switcher": """\
model = add_lora(GPT.from_pretrained("tiny-gpt"), LoraConfig(), "legal")
model.add_adapter("code", LoraConfig())
torch.manual_seed(0)
for layer in model.lora_layers().values():
    for matrix in layer.lora_B.values():
        torch.nn.init.normal_(matrix, std=0.05)
explorer = widgets.adapter_switcher(model)""",
    "method_chooser": "explorer = widgets.method_chooser()",
}
SETUP = "import torch\nfrom minilora import *\nfrom minilora import widgets\n"
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# Times one move inside the page: waits for its key event, then for the picture, then until that is on the screen.
# A task that is queued in an animation frame runs after the frame was painted.
TIMER = """
(picture) => new Promise((resolve) => {
  let start;
  document.addEventListener("keydown", () => { start = performance.now(); }, { capture: true, once: true });
  const observer = new MutationObserver(() => {
    if (start === undefined) return;
    observer.disconnect();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => resolve(performance.now() - start);
      channel.port2.postMessage(0);
    });
  });
  observer.observe(picture, { childList: true, subtree: true, characterData: true });
  setTimeout(() => { observer.disconnect(); resolve(5000); }, 5000); // no new picture: counts as very slow
})
"""
# Resolves once the picture has been still for a while: text that streams after one move is not the next one's answer.
REST = """
(picture) => new Promise((resolve) => {
  let timer = setTimeout(done, 120);
  const observer = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(done, 120); });
  function done() { observer.disconnect(); resolve(); }
  observer.observe(picture, { childList: true, subtree: true, characterData: true });
})
"""
STATE = "node => node.value ?? node.getAttribute('aria-valuenow')"


@contextlib.contextmanager
def jupyter_server(folder: Path, application: str = "lab") -> Iterator[str]:
    """The address of a JupyterLab (or "notebook") that serves `folder` and leaves this machine's settings alone."""
    with tempfile.TemporaryDirectory() as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        names = (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "MPLCONFIGDIR",
        )
        names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
        environment = os.environ | {name: str(Path(home, name)) for name in names}
        labconfig = Path(home, "JUPYTER_CONFIG_DIR", "labconfig")
        labconfig.mkdir(parents=True)
        quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
        (labconfig / "page_config.json").write_text(json.dumps(quiet), encoding="utf-8")
        whole = {
            "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}
        }  # cells out of sight stay
        (labconfig / "default_setting_overrides.json").write_text(json.dumps(whole), encoding="utf-8")
        command = [
            sys.executable, "-m", "jupyter", application, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.password=",
            f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
        ]  # fmt: skip
        quiet_streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(command, env=environment, cwd=folder, **quiet_streams)
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address, server)
            yield address
        finally:
            server.terminate()
            server.wait(20)


def _wait_for(address: str, server: subprocess.Popen) -> None:
    for _ in range(240):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api/status", timeout=2).close()
            return
        time.sleep(0.25)
    raise TimeoutError("the server did not answer within a minute")


@contextlib.contextmanager
def browser_page(width: int = 1280, height: int = 900) -> Iterator[Page]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()


def open_and_run(page: Page, address: str, name: str) -> None:
    """Opens a notebook of the served folder in JupyterLab, runs all of it, and waits until the kernel rests."""
    page.goto(f"{address}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    idle = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    page.wait_for_function(idle, timeout=60_000)
    page.evaluate(
        "() => { jupyterapp.commands.execute('notebook:run-all-cells') }"
    )  # does not wait for the end
    page.wait_for_selector(".jp-Notebook .minilora svg", timeout=120_000)
    page.wait_for_function(idle, timeout=120_000)


def write_notebook(path: Path, cells: list[str]) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def measure(page: Page, moves: int) -> dict[str, float]:
    """Median and 95 % of the milliseconds per move, and what has grown over all moves."""
    picture = page.query_selector(".minilora .widget-html-content")
    controls = page.query_selector_all(".minilora .noUi-handle, .minilora select")
    times: list[float] = []

    def press(number: int) -> float | None:
        """Four keys one way, four the other, then the next control. None where a key moves nothing, as at an end."""
        control = controls[(number // 8) % len(controls)]
        key = ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")[(number // 4 % 2) * 2 + _is_list(control)]
        control.focus()
        page.evaluate(REST, picture)
        before = control.evaluate(STATE)
        page.evaluate(f"(picture) => {{ window.move = ({TIMER})(picture) }}", picture)
        page.keyboard.press(key)
        return None if control.evaluate(STATE) == before else page.evaluate("window.move")

    for number in range(16):  # warm: each control once in both directions
        press(number)
    before = _alive(page)
    for number in range(moves):
        taken = press(number)
        if taken is not None:  # at the end of a slider a key moves nothing
            times.append(taken)
    after = _alive(page)
    times.sort()
    return {
        "moves": len(times),
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[int(0.95 * (len(times) - 1))], 1),
        "max_ms": round(times[-1], 1),
        **{f"{what}_grown": after[what] - before[what] for what in after},
    }


def _is_list(control) -> int:
    return int(control.evaluate("node => node.tagName === 'SELECT'"))


def _alive(page: Page) -> dict[str, int]:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    counts = session.send("Memory.getDOMCounters")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return {"nodes": counts["nodes"], "listeners": counts["jsEventListeners"], "heap_kb": int(heap // 1000)}


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    names = {"moves": "moves", "median_ms": "median, ms", "p95_ms": "95 %, ms", "max_ms": "slowest, ms"}
    rows = [[name.replace("_", " "), *(figures[key] for key in names)] for name, figures in recorded.items()]
    return (
        "From a key press until the new picture is painted, in Chromium on 2 cores. Aim: 95 % under 80 ms.\n\n"
        + table(["", *names.values()], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--only", choices=CELLS, help="measure this one alone")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    results = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyter_server(Path(folder)) as address,
        browser_page() as page,
    ):
        for name in [options.only] if options.only else CELLS:
            write_notebook(Path(folder, f"{name}.ipynb"), [SETUP + CELLS[name] + "\nexplorer"])
            open_and_run(page, address, f"{name}.ipynb")
            results[name] = measure(page, options.moves)
            print(
                f"{name:24}",
                *(f"{key} {value}" for key, value in results[name].items()),
                sep="  ",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    slow = [name for name, result in results.items() if result["p95_ms"] >= 80]
    sys.exit(f"slower than 80 ms: {', '.join(slow)}" if slow else 0)


if __name__ == "__main__":
    main()
