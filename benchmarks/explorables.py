"""From a key press to the new picture, in Chromium: each explorable of minilora in a real JupyterLab.

    python benchmarks/explorables.py [--moves N] [--only NAME] [--json FILE]

For each explorable it opens a notebook of one cell, and uses every control from the keyboard: sliders, lists, check
boxes, the prompt. A move is timed in the page, from the key event until the frame with the new picture has been
painted, and starts from rest. The training dashboard has no such control: there a new figure is timed, from the kernel
that begins to draw it until it is painted, and then how long the Stop button takes.

Then the same number of moves once more, and nothing may have leaked between the two: nodes and listeners of the page,
its heap, widgets of the kernel. A leak of one a move shows twice over; the exit status says so, as it does when 95 %
of the moves are not under 80 ms. Needs the dev packages, and Chromium: $CHROMIUM, or one that is on the path.
Not here: whether keyboard and screen reader reach everything (tests/browser).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from page_parts import table, versions
from playwright.sync_api import ElementHandle, Page, sync_playwright

CELLS = {
    "parameter_explorer": "explorer = widgets.parameter_explorer()",
    "memory_explorer": "explorer = widgets.memory_explorer()",
    "lora_anatomy": "explorer = widgets.lora_anatomy()",
    "pattern_builder": "explorer = widgets.pattern_builder(torch.randn(48, 64))",
    "rank_explorer": "explorer = widgets.rank_explorer()",
    "quantization_explorer": "explorer = widgets.quantization_explorer()",
    "adapter_switcher": """\
model = LoraModel(GPT.from_pretrained("tiny-gpt"))
for style in ("legal", "code", "support"):
    model.load_adapter(style, style)
explorer = widgets.adapter_switcher(model, max_new_tokens=20)""",
    "method_chooser": "explorer = widgets.method_chooser()",
    "training_dashboard": """\
base = GPT.from_pretrained("tiny-gpt")
rows = encode_text(style_corpus("legal", documents=20), base.tokenizer, sequence_length=32)
trainer = Trainer(add_lora(base, LoraConfig()), rows, max_steps=100_000, batch_size=1, progress=False)
explorer = widgets.training_dashboard(trainer, prompt="")""",
}
SETUP = "import torch\nfrom minilora import *\nfrom minilora import widgets\n"
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
AIM = 80  # ms, for 95 % of the moves

# `afterPaint` gives the time at which the present state of the page has been painted: a task that is queued in an
# animation frame runs after it. subtle: an open MessagePort with a handler is never collected, so it is closed, and
# no timer outlives its move; else the clock itself would be the leak.
CLOCK = """
() => {
  const now = () => performance.timeOrigin + performance.now();
  window.afterPaint = (then) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); then(now()); };
    port2.postMessage(0);
  });
  window.timeMove = (picture, word) => {  // from the next key to the first new picture, or the one with this word
    let start;
    const listen = () => { start = now(); };
    document.addEventListener("keydown", listen, { capture: true, once: true });
    window.move = new Promise((resolve) => {
      window.mover?.disconnect();
      window.mover = new MutationObserver(() => {
        if (start === undefined || !picture.textContent.includes(word)) return;
        mover.disconnect();
        afterPaint((end) => resolve(end - start));
      });
      mover.observe(picture, { childList: true, subtree: true, characterData: true });
    });
  };
  window.moveWithin = (ms) => new Promise((resolve) => {  // its milliseconds; null if there is no new picture yet
    const timer = setTimeout(() => resolve(null), ms);
    move.then((time) => { clearTimeout(timer); resolve(time); });
  });
  window.timeFigures = (picture) => {
    window.shown = [];
    new MutationObserver(() => afterPaint((time) => shown.push(time))).observe(picture, { childList: true });
  };
}
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
STATE = "node => node.type === 'checkbox' ? node.checked : node.value ?? node.getAttribute('aria-valuenow')"
IN_KERNEL = """
async (expression) => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const options = { code: '', silent: true, store_history: false, user_expressions: { value: expression } };
  const reply = await kernel.requestExecute(options).done;
  return reply.content.user_expressions.value.data['text/plain'];
}
"""
NODES_ON_SHOW = """
() => [...document.querySelectorAll('.minilora .widget-html-content')].reduce((sum, picture) => {
  const walker = document.createTreeWalker(picture);
  while (walker.nextNode()) sum += 1;
  return sum;
}, 0)
"""
CONTROLS = ".minilora .noUi-handle, .minilora select, .minilora input"
# By the kind of control: the key for a move one way and the other.
KEYS = {
    "slider": ("ArrowRight", "ArrowLeft"),
    "select-one": ("ArrowDown", "ArrowUp"),
    "checkbox": (" ", " "),
    "text": ("x", "Backspace"),
}
# In the kernel: when each figure of the dashboard was begun, and a training that ends after so many of them.
NOTE_FIGURES = """
import time
drawn, goal, redraw = [], 0, explorer.redraw
def noted():
    drawn.append(1000 * time.time())
    if len(drawn) >= goal:
        trainer.stop()
    redraw()
explorer.redraw = noted
widgets.dashboard.DRAW_EVERY = 0.05"""
TRAIN = "goal = len(drawn) + {figures}\ntrainer.train()"
START = "(code) => { jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code }) }"
WIDGETS = "len(__import__('ipywidgets').widgets.widget._instances)"


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
        names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "MINILORA_CACHE")
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
    for _ in range(720):
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with status {server.returncode}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api/status", timeout=2).close()
            return
        time.sleep(0.25)
    raise TimeoutError("the server did not answer within three minutes")


@contextlib.contextmanager
def browser_page(width: int = 1280, height: int = 900) -> Iterator[Page]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()


def open_and_run(page: Page, address: str, name: str, explorables: int = 1) -> None:
    """Opens a notebook of the served folder in JupyterLab, runs it, and waits for so many explorables and for rest."""
    page.goto(f"{address}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    idle = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    page.wait_for_function(idle, timeout=60_000)
    page.evaluate(
        "() => { jupyterapp.commands.execute('notebook:run-all-cells') }"
    )  # does not wait for the end
    shown = f"() => document.querySelectorAll('.jp-Notebook .minilora svg').length >= {explorables}"
    page.wait_for_function(shown, timeout=120_000)
    page.wait_for_function(idle, timeout=120_000)


def write_notebook(path: Path, cells: list[str]) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


# -- moves -------------------------------------------------------------------------------------------------------------


def measure(page: Page, name: str, moves: int) -> dict[str, float]:
    """Milliseconds per move, over `moves` of them and as many again, and what has grown during the latter."""
    page.evaluate(CLOCK)
    picture = page.wait_for_selector(".minilora .widget-html-content")
    if name == "training_dashboard":
        return measure_dashboard(page, picture, moves)
    hands = [Hand(page, control) for control in page.query_selector_all(CONTROLS)]

    def go(number: int) -> list[float]:
        """So many moves that show something new; some do not, as beyond a model's longest row of tokens."""
        times: list[float] = []
        for i in range(2 * number):
            time_taken = hands[i // 8 % len(hands)].move(picture)
            times += [] if time_taken is None else [time_taken]
            if len(times) == number:
                return times
        raise RuntimeError(f"of {2 * number} moves only {len(times)} changed the picture of {name}")

    go(16)  # warm
    times = go(moves)
    page.evaluate(REST, picture)
    before = alive(page)
    times += go(moves)
    page.evaluate(REST, picture)
    return summary(times) | grown(before, alive(page))


class Hand:
    """Moves one control from the keyboard, and turns round at its ends, so that every move is one."""

    def __init__(self, page: Page, control: ElementHandle):
        self.page, self.control, self.way = page, control, 0
        self.keys = KEYS[control.evaluate("node => node.type ?? 'slider'")]

    def move(self, picture: ElementHandle) -> float | None:
        """Milliseconds until the new picture is on the screen; None if the kernel has answered with the old one."""
        for _ in range(2):
            self.control.focus()
            self.page.evaluate(REST, picture)
            before = self.control.evaluate(STATE)
            self.page.evaluate("(picture) => timeMove(picture, '')", picture)
            self.page.keyboard.press(self.keys[self.way])
            moved = self.control.evaluate(STATE) != before
            if not moved or self.keys == KEYS["text"]:  # at an end; or a text, which is to become as it was
                self.way = 1 - self.way
            if moved:
                quick = self.page.evaluate("moveWithin(500)")
                self.page.evaluate(IN_KERNEL, "0")  # by its answer, that to the move has come too
                return quick or self.page.evaluate("moveWithin(500)")
        raise RuntimeError(f"no key moves {self.control.evaluate('node => node.outerHTML')}")


def measure_dashboard(page: Page, picture: ElementHandle, figures: int) -> dict[str, float]:
    """Trains until so many figures were drawn, and again; pairs the kernel's times with the screen's. Then Stop."""
    page.evaluate("(picture) => timeFigures(picture)", picture)
    page.evaluate(START, NOTE_FIGURES)
    train(page, 20)  # warm
    train(page, figures)
    before = alive(page)
    train(page, figures)
    after = alive(page)
    drawn, shown = json.loads(page.evaluate(IN_KERNEL, "drawn")), page.evaluate("shown")
    if len(drawn) != len(shown):
        raise RuntimeError(f"the kernel drew {len(drawn)} figures, the page showed {len(shown)}")
    times = [seen - made for made, seen in zip(drawn, shown, strict=True)][20:]
    page.evaluate(START, TRAIN.format(figures=100_000))
    page.wait_for_function(f"() => shown.length > {len(shown) + 20}")
    page.evaluate("(picture) => timeMove(picture, 'Stopped')", picture)
    page.focus(".minilora button")
    page.keyboard.press("Enter")
    return summary(times) | {"stop_ms": round(page.evaluate("moveWithin(60_000)"))} | grown(before, after)


def train(page: Page, figures: int) -> None:
    page.evaluate(START, TRAIN.format(figures=figures))
    page.evaluate(IN_KERNEL, "0")  # its answer waits for the end of the training
    page.wait_for_timeout(500)  # and the last picture


def summary(times: list[float]) -> dict[str, float]:
    times = sorted(times)
    shares = {"median_ms": 0.5, "p95_ms": 0.95, "max_ms": 1.0}
    return {"moves": len(times)} | {
        name: round(times[round(share * (len(times) - 1))], 1) for name, share in shares.items()
    }


# -- leaks -------------------------------------------------------------------------------------------------------------


def alive(page: Page) -> dict[str, int]:
    """What lives after a collection; without the nodes of the pictures, which depend on their state."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    page.wait_for_timeout(1000)  # what runs when something was collected lets go of more
    session.send("HeapProfiler.collectGarbage")
    counts = session.send("Memory.getDOMCounters")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return {
        "nodes": counts["nodes"] - page.evaluate(NODES_ON_SHOW),
        "listeners": counts["jsEventListeners"],
        "heap_kb": int(heap // 1000),
        "widgets": int(page.evaluate(IN_KERNEL, WIDGETS)),
    }


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {f"{what}_grown": after[what] - before[what] for what in after}


def limits(moves: int) -> dict[str, float]:
    """Half of what would stay if each move left one thing behind: a node, a listener, a widget, a picture of 10 kB."""
    return {"nodes": moves / 2, "listeners": moves / 2, "heap_kb": 10 * moves / 2, "widgets": moves / 2}


def failures(name: str, figures: dict[str, float]) -> list[str]:
    """What is wrong with these figures, in words."""
    found = [f"{name}: 95 % under {figures['p95_ms']} ms, not {AIM}"] if figures["p95_ms"] >= AIM else []
    for what, limit in limits(int(figures["moves"] / 2)).items():
        if figures[f"{what}_grown"] >= limit:
            found.append(f"{name}: {what} grew by {figures[f'{what}_grown']}, the limit is {limit:g}")
    return found


# -- the program -------------------------------------------------------------------------------------------------------


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    names = {"moves": "moves", "median_ms": "median, ms", "p95_ms": "95 %, ms", "max_ms": "slowest, ms"}
    names |= {"nodes_grown": "nodes", "listeners_grown": "listeners", "heap_kb_grown": "heap, kB"}
    names |= {"widgets_grown": "widgets"}
    explorables = recorded["explorables"]
    rows = [
        [name.replace("_", " "), *(figures.get(key, "not counted") for key in names)]
        for name, figures in explorables.items()
    ]
    stop = explorables.get("training_dashboard", {}).get("stop_ms")
    return (
        f"{versions(recorded['machine'])}. From a key press (for the dashboard: from a new figure) until the picture "
        f"is painted, in Chromium. Aim: 95 % under {AIM} ms. The last four columns: what the second half of the moves "
        "left behind in the page and in the kernel; one thing kept per move would be half the number of moves.\n\n"
        + table(["", *names.values()], rows)
        + (f"\nThe Stop button ends a training after {stop} ms.\n" if stop else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--only", choices=CELLS, help="measure this one alone")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyter_server(Path(folder)) as address,
        browser_page() as page,
    ):
        machine = {"cores": os.cpu_count(), "system": platform.system(), "Python": platform.python_version()}
        machine |= {name: version(name) for name in ("jupyterlab", "ipywidgets", "ipykernel")}
        machine["Chromium"] = page.context.browser.version
        print(versions(machine))
        for name in [options.only] if options.only else CELLS:
            write_notebook(Path(folder, f"{name}.ipynb"), [SETUP + CELLS[name] + "\nexplorer"])
            open_and_run(page, address, f"{name}.ipynb")
            results[name] = measure(page, name, options.moves)
            figures = "  ".join(f"{key} {value}" for key, value in results[name].items())
            print(f"{name:24}{figures}", flush=True)
    if options.json:
        record = {"machine": machine, "explorables": results}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    problems = [problem for name, figures in results.items() for problem in failures(name, figures)]
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
