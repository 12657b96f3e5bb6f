"""A Verilog test bench beside a clocked unit and a file of vectors, for whatever simulator a reader has."""

from slipstick.errors import SpecificationError
from slipstick.hardware.unit import Port, Unit

_BENCH = """\
// Runs {name} on the vectors beside this file, a row a cycle, and compares its output {latency} cycles later:
//
//   $ iverilog -o bench testbench.v {name}.v && ./bench
//   $ verilator --binary --timing -CFLAGS -std=c++20 testbench.v {name}.v && obj_dir/Vtestbench
//
// Made by Slipstick.

`timescale 1ns / 1ps

module testbench;
  localparam integer ROWS = {rows};
  localparam integer LATENCY = {latency};

  reg [{top}:0] vectors [0:{columns} * ROWS - 1];
  reg clk, rst;
{declarations}
  integer row, wrong;

  {name} unit ({connections});

  initial begin
    clk = 1'b0;
    forever #1 clk = ~clk;
  end

  initial begin
    $readmemh("{file}", vectors);
    wrong = 0;
    rst = 1'b1;
    repeat (2) @(negedge clk);
    rst = 1'b0;
    for (row = 0; row < ROWS + LATENCY; row = row + 1) begin
      if (row >= LATENCY && {output} !== vectors[{columns} * (row - LATENCY) + {last}][{output_top}:0]) begin
        wrong = wrong + 1;
        if (wrong <= 10)
          $display("row %0d: {output} is %h, not %h", row - LATENCY, {output},
                   vectors[{columns} * (row - LATENCY) + {last}][{output_top}:0]);
      end
      if (row < ROWS) begin
{drives}
      end
      @(negedge clk);
    end
    if (wrong == 0) $display("PASSED: %0d rows", ROWS);
    else $display("FAILED: %0d of %0d rows", wrong, ROWS);
    $finish;
  end
endmodule
"""


def verilog_bench(unit: Unit, rows: int, file: str) -> str:
    """Verilog that prints PASSED, or FAILED and the first wrong rows.

    file: hexadecimal numbers, ``rows`` rows of the unit's inputs in order and of its one output once they are taken in.

    Raises:
        SpecificationError: the unit is not clocked, or has several outputs.
    """
    if not unit.latency or len(unit.outputs) != 1:
        raise SpecificationError(f"verilog_bench({unit.name}): the unit must be clocked and have one output")
    (output,) = unit.outputs
    columns = (*unit.inputs, output)
    names = ["clk", "rst", *(port.name for port in columns)]
    drives = [
        f"        {port.name} = vectors[{len(columns)} * row + {place}]{_bits(port)};"
        for place, port in enumerate(unit.inputs)
    ]
    return _BENCH.format(
        name=unit.name,
        latency=unit.latency,
        rows=rows,
        file=file,
        columns=len(columns),
        last=len(columns) - 1,
        top=max(port.width for port in columns) - 1,
        declarations="\n".join([*(f"  reg {_bits(p)} {p.name};" for p in unit.inputs), _wire(output)]),
        connections=", ".join(f".{name}({name})" for name in names),
        output=output.name,
        output_top=output.width - 1,
        drives="\n".join(drives),
    )


def _bits(port: Port) -> str:
    return f"[{port.width - 1}:0]"


def _wire(port: Port) -> str:
    return f"  wire {_bits(port)} {port.name};"
