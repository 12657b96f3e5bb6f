"""Results of a study as no tool made them: round numbers, any number of units."""

from dataclasses import replace

from slipstick.hardware_study.results import (
    INERTIAL,
    ZERO_DELAY,
    Check,
    NetworkCost,
    PointResult,
    StudyResult,
    UnitResult,
)

RECORDED = ("forward", "input_gradient", "weight_gradient")
CLOCK_NS = 2.5
LABELS = (
    "fixed point, 12 bits",
    "fixed point, 16 bits",
    "LNS(5,5) published",
    "LNS(5,5) published, operand accumulator",
    "LNS(5,5) designed-4",
    "fp8 e4m3 products, fp16 sums",
    "fp16, fused, fp32 sums",
    "fp32",
    "LNS-Madam 8 bits, exact conversion",
    "LNS-Madam 8 bits, hybrid conversion of 2 entries",
    "bf16",
    "Mitchell",
)


def unit(label: str, size: float = 1.0, *, recorded: bool = True, in_time: bool = True) -> UnitResult:
    """size: in units of a unit of 1000 um2 and 2000 fJ."""
    operands = (*RECORDED, "normal") if recorded else ("normal",)
    slow = 0.0 if in_time else 1.5
    folder = f"units/{label.lower().replace(' ', '-').replace(',', '')}"
    mapping = "nangate45, 1500 ps, {}, booth, full adders: cells, area"
    points = tuple(
        PointResult(
            f"mac_{int(100 * size)}_{'balanced' if i % 2 else 'serial'}",
            mapping.format(("brent-kung", "sklansky", "kogge-stone")[i % 3]),
            area_um2=1000 * size * (1 + 0.04 * i),
            period_ns=2.1 + slow + 0.2 * min(size, 1.5) - 0.06 * i + 0.11 * (i % 3),
            energy_fj={ZERO_DELAY: 1000 * size, INERTIAL: (2000 - 10 * i) * size} if i < 4 else None,
        )
        for i in range(12)
    )
    energies = {
        name: {ZERO_DELAY: size * (800 + 100 * i), INERTIAL: size * (1600 + 400 * i)} for i, name in enumerate(operands)
    }
    shares = {"switching": 0.4, "inputs": 0.05, "internal": 0.35, "registers": 0.08, "clock": 0.1, "leakage": 0.02}
    return UnitResult(
        label=label,
        title=label,
        kind="log" if "LNS" in label else "fixed",
        operand_bits=12,
        accumulator_bits=28,
        clock_ns=CLOCK_NS,
        in_time=in_time,
        points=points,
        chosen=1,
        smallest=0,
        thriftiest=3,
        cells=int(700 * size),
        register_area_um2=200.0,
        energy_fj=energies,
        parts_fj={name: {part: e[INERTIAL] * share for part, share in shares.items()} for name, e in energies.items()},
        checks=(
            Check("mac = software, random", "equal", 200_000, 0.8),
            Check("mac_clocked = software, dot products", "equal", 6000, 1.2),
            Check("netlist = software, dot products", "equal", 6000, 0.4),
            Check("netlist = RTL, formally (dsec)", "undecided" if "fixed" in label else "proved", 0, 10.0),
        ),
        files={
            "verilog": f"{folder}/mac.v",
            "log": f"{folder}/synthesis.log",
            "netlist": f"{folder}/netlist.json",
            "vectors": f"{folder}/vectors.txt",
        },
        flow_s=7.4,
        errors_lsb={"D+ rms": 0.45, "D+ largest": 1.44, "D- rms": 1.6, "D- largest": 11.2} if "(" in label else {},
    )


def study(count: int = 4, *, networks: int = 2, recorded: bool = True, sizes: tuple[float, ...] = ()) -> StudyResult:
    """The first ``count`` of LABELS; the first one is the baseline, of size 1."""
    sizes = sizes or tuple(1.0 if i == 0 else 0.3 + 0.45 * (i % 5) for i in range(count))
    units = tuple(unit(label, size, recorded=recorded) for label, size in zip(LABELS, sizes, strict=False))
    costs = tuple(
        NetworkCost(
            network=name,
            unit=one.label,
            batch=128,
            products=10**9 * (i + 1),
            energy_mj={ZERO_DELAY: (i + 1) * 0.9 * size, INERTIAL: (i + 1) * 2.0 * size},
            area_time_mm2_s=(i + 1) * 0.0025 * size,
            traffic_bits={"weight": 10**9, "activation": 2 * 10**9, "gradient": 10**9, "weight_gradient": 10**8},
        )
        for i, name in enumerate(("VGG-11, width 1/4, 32 x 32", "ResNet-18, 224 x 224", "GPT")[:networks])
        for one, size in zip(units, sizes, strict=True)
    )
    operands = (*RECORDED, "normal") if recorded else ("normal",)
    return StudyResult("mac-study", "nangate45", CLOCK_NS, units[0].label, operands, units, costs)


def with_check(result: StudyResult, position: int, check: Check) -> StudyResult:
    """The same, with one more check of one unit."""
    units = list(result.units)
    units[position] = replace(units[position], checks=(*units[position].checks, check))
    return replace(result, units=tuple(units))
