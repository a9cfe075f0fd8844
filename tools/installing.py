"""Installs what a lock lists and shows how far it is, in a few words instead of pip's log. Standard library only.

pip does it by default. Where uv is installed it installs all but PyTorch, several times faster. PyTorch is always pip's
part: uv does not read pip's configuration, and so could fetch the CUDA build, several GB, on a machine whose pip is
told where the small build is. For the same reason uv is left out where pip has a package index of its own.

Not here: the virtual environment, and when it is up to date (environment.py).
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

# What pip writes when it fails, and what that means for the person in front of it.
CAUSES = {
    "No space left on device": "the disk is full; make room and run the same command again",
    "NewConnectionError": "pip cannot reach the package index; the first set-up needs a network, later starts do not",
    "ConnectTimeoutError": "pip cannot reach the package index; the first set-up needs a network, later starts do not",
    "ReadTimeoutError": "the network is too slow or was cut; what has arrived is kept, run the same command again",
    "ProxyError": "the proxy refused pip; set HTTPS_PROXY as your network asks",
    "CERTIFICATE_VERIFY_FAILED": "pip does not trust the network's certificate; set PIP_CERT to your company's",
    "No matching distribution found": "one package has no build for this Python and system; the line above names it",
}
LARGE = 10.0  # MB; a download of this size or more is shown with its size
# What pip writes of each line of the lock, whether it must fetch that package or has it.
PIN = re.compile(
    r"(?:Collecting |Requirement already satisfied: |Processing (?:.*[/\\])?)([\w.-]+?)(?===|-\d).*\(from -r"
)
# pip's settings that uv would not know of
OWN_INDEX = re.compile(r"\b(index-url|extra-index-url|find-links|no-index|constraint)\b")


class Installer:
    """Runs pip and uv for one environment: `python` is the environment's own, `log` gets all that pip says."""

    def __init__(self, python, root, log, environment):
        self.python, self.root, self.log, self.environment = str(python), Path(root), Path(log), environment
        self.pip = [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--log", str(log)]

    def install(self, lock):
        """Brings the packages of the lock into the environment."""
        lines = (self.root / lock).read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if line and not line.startswith("#")]
        uv = self._uv()
        if uv and self._install_with_uv(uv, lock, pins):
            return
        progress = Progress(len(pins))
        self.step(
            [*self.pip, "--progress-bar=off", "--requirement", lock], "installing the packages", progress
        )

    def install_editable(self):
        """Brings this repository's own package in, without any of its requirements."""
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
        self.step([*self.pip, *options], "installing minilora")

    def _uv(self):
        uv = shutil.which("uv", path=self.environment.get("PATH"))
        if uv is None:
            return None
        command = [self.python, "-m", "pip", "config", "list"]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, check=False)
        return None if done.returncode or OWN_INDEX.search(done.stdout) else uv

    def _install_with_uv(self, uv, lock, pins):
        """Returns whether it worked; if not, pip does everything, and says why if it cannot either."""
        torch = [pin for pin in pins if re.match(r"torch(?![\w.-])", pin)]
        rest = self.log.with_name("minilora-without-torch.txt")
        rest.write_text("\n".join(pin for pin in pins if pin not in torch) + "\n", encoding="utf-8")
        print("  PyTorch first, with pip; then the other packages with uv", flush=True)
        self.step([*self.pip, "--quiet", "--constraint", lock, *torch], "installing PyTorch")
        # Without dependencies: the lock names them all, and so nothing can ask for another PyTorch.
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            self.python,
            "--no-deps",
            "--requirement",
            str(rest),
        ]
        status, _ = self._follow(command)
        if status:
            print("  uv could not do it; pip does", flush=True)
        return status == 0

    def step(self, command, what, progress=None):
        """Runs a command, and ends the program with pip's words and an advice if it fails."""
        status, said = self._follow(command, progress)
        if status == 0:
            return
        errors = [line for line in said if line.lstrip().startswith(("ERROR", "error"))]
        print("\n".join(errors + said[-15:] if errors else said[-30:]), file=sys.stderr)
        log = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        reasons = {reason for sign, reason in CAUSES.items() if sign in log}
        advice = (
            "; ".join(sorted(reasons)) or f"the messages above say why, and all of them are in {self.log}"
        )
        sys.exit(f"\n{what} failed: {advice}.\nThe next run begins anew; nothing half made is used.")

    def _follow(self, command, progress=None):
        """Runs a command and returns its exit status and the lines that it wrote."""
        child = subprocess.Popen(
            command,
            cwd=str(self.root),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        said = []
        for line in child.stdout:
            said.append(line.rstrip())
            if progress:
                progress.read(said[-1])
        status = child.wait()
        if progress:
            progress.end()
        return status, said


class Progress:
    """Reads pip's log as it comes and shows one line that changes; outside a terminal, a line now and then."""

    def __init__(self, pins, file=None):
        self.total, self.found, self.file = pins, 0, file or sys.stdout
        self.in_terminal = self.file.isatty()

    def read(self, line):
        pin = PIN.match(line)
        if line.startswith("Ignoring "):  # it is for another system or Python
            self.total -= 1
        elif pin:
            self.found += 1
            self._show(f"{self.found} of {self.total} packages: {pin[1]}", milestone=self.found % 40 == 0)
        elif line.lstrip().startswith("Downloading ") and ".whl (" in line:
            size = re.search(r"\(([\d.]+) (MB|GB)\)", line)
            if size and (size[2] == "GB" or float(size[1]) >= LARGE):
                name = line.split()[1].split("-")[0]
                self._show(f"downloading {name} ({size[1]} {size[2]})", milestone=True)
        elif line.startswith("Installing collected packages"):
            self._show("unpacking (a minute or two)", milestone=True)
        elif "Retrying " in line:
            self._show(line.strip(), milestone=True)
            self.end()

    def _show(self, text, milestone):
        if self.in_terminal:
            width = shutil.get_terminal_size().columns - 3
            print(f"\r\033[K  {text[:width]}", end="", file=self.file, flush=True)
        elif milestone:
            print(f"  {text}", file=self.file, flush=True)

    def end(self):
        """Leaves the line that changes, so that what is printed next begins a new one."""
        if self.in_terminal:
            print(file=self.file, flush=True)
