"""The inner loops of the byte kernels as compiled, for processors that are not at hand.

    python benchmarks/modelled_loops.py build/CMakeFiles/kernels_avx512.dir/src/slipstick/kernels/native/gemm_isa.cpp.o

Counts instructions and registers spilled to memory, and asks LLVM's machine-code analyser (llvm-mca, of Debian's
package llvm-19) how many cycles an iteration takes if nothing waits for memory. That is a model, not a measurement.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

PROCESSORS = {"avx512": ("znver4", "icelake-server"), "avx2": ("znver3",)}
LOOK_UP = {"avx512": r"\bvperm[it]2b\b", "avx2": r"\bvpshufb\b"}
REGISTER = {"avx512": "zmm", "avx2": "ymm"}
LANES = {"avx512": 64, "avx2": 32}


@dataclass(frozen=True)
class Loop:
    """An innermost loop that looks tables up; products: how many it makes an iteration, of LANES numbers each."""

    function: str
    instructions: list[str]
    products: int


def functions(path: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Name and (address, instruction) of every function of an object file."""
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", "-M", "att", path]
    for part in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n\n"):
        head, *lines = part.strip().split("\n")
        if found := re.fullmatch(r"[0-9a-f]+ <(.*)>:", head):
            split = [line.strip().split(":\t", 1) for line in lines if ":\t" in line]
            yield found[1], [(int(at, 16), re.sub(r"\s*(#|<).*", "", text).strip()) for at, text in split]


def loops(path: str, isa: str) -> Iterator[Loop]:
    for name, body in functions(path):
        place = {at: n for n, (at, _) in enumerate(body)}
        jumps = [(n, re.match(r"j\w+\s+([0-9a-f]+)$", text)) for n, (_, text) in enumerate(body)]
        spans = [(place[int(m[1], 16)], n) for n, m in jumps if m and place.get(int(m[1], 16), n) < n]
        for first, last in spans:
            if any(first <= s and e <= last and (s, e) != (first, last) for s, e in spans):
                continue
            texts = [text for _, text in body[first : last + 1]]
            if any(re.search(LOOK_UP[isa], text) for text in texts):
                yield Loop(name, texts, sum("vpbroadcastd" in text for text in texts) // 2)


def spills(loop: Loop, isa: str) -> int:
    return sum(REGISTER[isa] in text and re.search(r"\(%r[sb]p", text) is not None for text in loop.instructions)


def cycles(loop: Loop, processor: str) -> float:
    """Of an iteration."""
    program = ".L1:\n" + "\n".join("jne .L1" if text.startswith("j") else text for text in loop.instructions) + "\n"
    command = [_analyser(), "-mtriple=x86_64", f"-mcpu={processor}", "-iterations=200"]
    told = subprocess.run(command, input=program, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", told)[1]) / 200  # type: ignore[index]


def _analyser() -> str:
    found = next(filter(None, map(shutil.which, ("llvm-mca-19", "llvm-mca"))), None)
    if found is None:
        sys.exit("modelled_loops: llvm-mca is missing; run: sudo apt install llvm-19")
    return found


COARSE = re.compile(r"\([^()<]*\(.*?\)[^)]*::Coarse\)(\d)")
MODES = ("", ", saturating", ", rounded", ", floor")
_PAIRS = "Tree: two terms and their sum, halved"
PARTS = {"run_tile": "Sequential, Blocked", "tile": _PAIRS, "call_add_terms": _PAIRS}


def kernel(name: str) -> tuple[str, str] | None:
    """Which kernel and which part of it a function is."""
    named = COARSE.sub(lambda found: ("direct", "coarse far out", "coarse in a byte")[int(found[1])], name)
    policy = re.search(r"(?:Permute|Shuffle|Step)Lookup<[^>]*>|CellLookup", named)
    part = re.search(r"(run_tile|call_add_terms|tile)<", name)
    mode = re.search(r"ByteMode\)(\d)", name)
    return (policy[0] + MODES[int(mode[1]) if mode else 0], PARTS[part[1]]) if policy and part else None


def main(path: str) -> None:
    isa = "avx512" if "avx512" in path else "avx2"
    shortest: dict[tuple[str, str], Loop] = {}
    for loop in loops(path, isa):
        key = kernel(loop.function)
        if key and loop.products > 1 and (key not in shortest or _length(loop) < _length(shortest[key])):
            shortest[key] = loop
    print(f"Instructions and cycles of a vector of {LANES[isa]} products and what is added of them.\n")
    print(f"| kernel | loop | instructions | spills | {' | '.join(f'cycles, {p}' for p in PROCESSORS[isa])} |")
    print("|---|---|---|---|" + "---|" * len(PROCESSORS[isa]))
    for (name, part), loop in sorted(shortest.items()):
        told = " | ".join(f"{cycles(loop, p) / loop.products:.1f}" for p in PROCESSORS[isa])
        print(f"| {name} | {part} | {_length(loop):.1f} | {spills(loop, isa)} | {told} |")


def _length(loop: Loop) -> float:
    return len(loop.instructions) / loop.products


if __name__ == "__main__":
    main(sys.argv[1])
