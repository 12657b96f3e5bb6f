"""What the instructions of the AVX-512 kernels cost on this processor, where none waits for another.

    python benchmarks/instruction_costs.py

Compiles a loop of each with g++ and prints cycles an instruction, at the clock at which a chain of scalar additions
runs.
"""

import re
import subprocess
import tempfile
from pathlib import Path


def entries_one_by_one() -> str:
    """16 indices of 32 bits taken from their vector, and 16 entries of 16 bits from a table."""
    steps = []
    for part in range(4):
        steps += [f"vextracti32x4 ${part}, %zmm30, %xmm29", "vmovq %xmm29, %rax", "vpextrq $1, %xmm29, %rcx"]
        for half, source in enumerate(("a", "c")):
            steps += [f"mov %e{source}x, %edx", f"shr $32, %r{source}x"]
            place = (4 * part + 2 * half) % 8
            steps += [f"vpinsrw ${place}, (%rdi,%rdx,2), w, w", f"vpinsrw ${place + 1}, (%rdi,%r{source}x,2), w, w"]
        if part == 1:
            steps.append("vmovdqa32 w, %xmm28")
    return "; ".join([*steps, "vinserti32x4 $1, %xmm28, v, v", "vpmovsxwd v, x"])


# x: another register each time; v and w: its lower half and quarter.
INSTRUCTIONS = {
    "vpaddw": "vpaddw %zmm30, x, x",
    "vpmaxsw": "vpmaxsw %zmm30, x, x",
    "vpternlogd": "vpternlogd $0xca, %zmm30, %zmm31, x",
    "vmovdqu8, masked": "vmovdqu8 %zmm30, x{%k1}",
    "vpunpcklbw": "vpunpcklbw %zmm30, x, x",
    "vpacksswb": "vpacksswb %zmm30, x, x",
    "vpermt2b": "vpermt2b %zmm30, %zmm31, x",
    "vpermt2w": "vpermt2w %zmm30, %zmm31, x",
    "vpsrlw": "vpsrlw $3, x, x",
    "vpabsw": "vpabsw x, x",
    "vpmulhuw": "vpmulhuw %zmm30, x, x",
    "vpsubusw": "vpsubusw %zmm30, x, x",
    "vgf2p8affineqb": "vgf2p8affineqb $0, %zmm30, x, x",
    "vpmovb2m": "vpmovb2m x, %k1",
    "vpcmpgtw": "vpcmpgtw %zmm30, x, %k1",
    "vpgatherdd, 16 lanes": "kxnorw %k1, %k1, %k1; vpgatherdd (%rdi,%zmm30,4), x{%k1}",
    "16 entries, one by one": entries_one_by_one(),
    "load of 64 bytes": "vmovdqu64 (%rdi), x",
    "broadcast of 4 bytes": "vpbroadcastd (%rdi), x",
    "store of 64 bytes": "vmovdqu64 x, (%rdi)",
}
REGISTERS = 14
TURNS = 100_000

LOOP = """
    .globl loop{number}
loop{number}:
    vpxord %zmm30, %zmm30, %zmm30
1:  {body}
    dec %rsi
    jnz 1b
    vzeroupper
    ret
"""

MAIN = """
#include <stdio.h>
#include <time.h>

static char memory[4096] __attribute__((aligned(64)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double fastest(void (*loop)(void*, long)) {
    double least = 1e9;
    for (int i = 0; i < 20; ++i) {
        const double start = now();
        loop(memory, TURNS);
        const double seconds = now() - start;
        if (seconds < least) least = seconds;
    }
    return least / TURNS / REGISTERS;
}
"""


def _in_register(text: str, number: int) -> str:
    sizes = {"x": "zmm", "v": "ymm", "w": "xmm"}
    return re.sub(r"(?<= )[xvw]\b", lambda found: f"%{sizes[found[0]]}{number}", text)


def sources() -> tuple[str, str]:
    """The loops in assembly, and the program in C that times them."""
    bodies = ["; ".join(_in_register(text, i) for i in range(REGISTERS)) for text in INSTRUCTIONS.values()]
    bodies.append("; ".join(["add $1, %rax"] * REGISTERS))
    loops = "".join(LOOP.format(number=number, body=body) for number, body in enumerate(bodies))
    declared = "".join(f"void loop{number}(void*, long);\n" for number in range(len(bodies)))
    printed = "".join(
        f'    printf("%-22s %.2f\\n", "{name}", fastest(loop{number}) / cycle);\n'
        for number, name in enumerate(INSTRUCTIONS)
    )
    cycle = f'    const double cycle = fastest(loop{len(INSTRUCTIONS)});\n    printf("%.2f GHz\\n", 1e-9 / cycle);\n'
    loops += '    .section .note.GNU-stack,"",@progbits\n'
    return loops, f"{MAIN}{declared}int main(void) {{\n{cycle}{printed}    return 0;\n}}\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        loops, program, binary = (Path(folder, name) for name in ("loops.s", "program.c", "program"))
        texts = sources()
        loops.write_text(texts[0])
        program.write_text(texts[1])
        constants = [f"-DTURNS={TURNS}", f"-DREGISTERS={REGISTERS}"]
        subprocess.run(["gcc", "-O1", *constants, "-o", binary, program, loops], check=True)
        subprocess.run([binary], check=True)


if __name__ == "__main__":
    main()
