"""All benchmarks, and the one page that tells what they found: benchmarks/RESULTS.md.

    python benchmarks/run_all.py             runs all that this machine can run, then writes the page
    python benchmarks/run_all.py adapters    runs this one, then writes the page
    python benchmarks/run_all.py --render    only writes the page, from what is recorded in benchmarks/results/
    python benchmarks/run_all.py --check     is the page what the records give? writes nothing

Each benchmark records its figures in results/NAME.json and draws its own part of the page (`page` in its file). What
was lost to a peer stays on the page. Those that need a GPU run on one, and are skipped elsewhere; their records stay.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "RESULTS.md"
SKIPPED = 77  # the status of a benchmark that cannot run on this machine, as with automake


@dataclasses.dataclass(frozen=True)
class Benchmark:
    name: str  # of its record, and of its program unless another is given
    title: str
    option: str = "--json"  # takes the file to write
    needs_gpu: bool = False
    program: str = ""

    @property
    def module(self) -> str:
        return self.program or self.name


BENCHMARKS = (
    Benchmark("faithfulness", "The same results as the libraries"),
    Benchmark("voices", "What one hears"),
    Benchmark("lora_against_full", "LoRA against full fine-tuning"),
    Benchmark("gguf_texts", "The same texts in llama.cpp"),
    Benchmark("walls", "Where rank is the limit"),
    Benchmark("forgetting", "What a fine-tuning forgets"),
    Benchmark("adapters", "Adapters beside peft and transformers"),
    Benchmark("quantization", "Four bits beside bitsandbytes, on a CPU"),
    Benchmark("qlora_quality", "What four bits cost"),
    Benchmark("smollm2_support", "A real model learns to answer like customer support"),
    Benchmark("smollm2_pirate", "A real model learns to talk like a pirate"),
    Benchmark("planning", "How long a memory plan takes"),
    Benchmark("published_peaks", "The memory planner against published peaks"),
    Benchmark("several_processes", "Several processes against one", "--out"),
    Benchmark("explorables", "Explorables: from a key press to the picture"),
    Benchmark("mutants", "Small slips that the exercises' checks catch"),
    Benchmark("grading", "Grading a class"),
    Benchmark("grading_cases", "What a mark withstands"),
    Benchmark("reliability", "Damaged files and sudden ends"),
    Benchmark("course", "The pages and the tests"),
    Benchmark(
        "several_processes_gpu", "Two GPUs against one", "--out", needs_gpu=True, program="several_processes"
    ),
    Benchmark("quantization_gpu", "Four bits beside bitsandbytes, on a GPU", needs_gpu=True),
    Benchmark("memory_gpu", "The memory planner against a GPU", "--out", needs_gpu=True),
    Benchmark("seven_billion", "A model of 8 billion weights within 24 GB", "--out", needs_gpu=True),
    Benchmark("long_rows", "The longest row within 24 GB", "--out", needs_gpu=True),
)
HEAD = """\
# What the benchmarks found

Written by `python benchmarks/run_all.py` from the records in `results/`; do not edit. Ratios are theirs / ours unless a
table says otherwise, so above 1 means that ours is faster. Where a spread is given, ours and theirs took turns in one
process, the figure is the median of the rounds, and the spread their range. What is slower than a peer, or misses its
aim, stays here.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--render", action="store_true", help="run nothing")
    parser.add_argument("--check", action="store_true", help="run nothing, write nothing")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(names))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there is {', '.join(names)}")
    if options.check:
        in_step = PAGE.exists() and PAGE.read_text(encoding="utf-8") == rendered()
        advice = "out of step with the records; run: python benchmarks/run_all.py --render"
        print(f"{PAGE.name} is {'in step' if in_step else advice}")
        return 0 if in_step else 1
    chosen = [] if options.render else [b for b in BENCHMARKS if b.name in (options.only or names)]
    failed = [benchmark.name for benchmark in chosen if not run(benchmark)]
    PAGE.write_text(rendered(), encoding="utf-8", newline="\n")
    if failed:
        print(f"these failed, and their old records stand: {', '.join(failed)}")
    return 1 if failed else 0


def run(benchmark: Benchmark) -> bool:
    """Whether it ended well. Only then does its record take the place of the old one."""
    if benchmark.needs_gpu and not torch.cuda.is_available():
        print(f"{benchmark.name}: needs a GPU, skipped")
        return True
    print(f"\n{benchmark.title}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        record = Path(work) / f"{benchmark.name}.json"
        command = [sys.executable, str(HERE / f"{benchmark.module}.py"), benchmark.option, str(record)]
        status = subprocess.run(command, check=False).returncode
        if status == SKIPPED:  # it has said why
            return True
        if status or not record.exists():
            return False
        RESULTS.mkdir(exist_ok=True)
        shutil.copyfile(record, RESULTS / record.name)
    return True


def rendered() -> str:
    """The whole page."""
    parts = [HEAD]
    for benchmark in BENCHMARKS:
        record = RESULTS / f"{benchmark.name}.json"
        if record.exists():
            draw = importlib.import_module(benchmark.module).page
            parts.append(
                f"\n## {benchmark.title}\n\n{draw(json.loads(record.read_text(encoding='utf-8'))).rstrip()}\n"
            )
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
