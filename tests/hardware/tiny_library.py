"""A cell library of round numbers for the tests, in units of its own: ps, pF and uW; every table is a plane.

delay = own + slew / 10 + load in fF, so that what a path takes can be worked out by hand.
"""

from slipstick.hardware.liberty import Library
from slipstick.hardware.netlist import Netlist

SLEWS_PS, LOADS_FF = (0, 40, 100), (0, 5, 20, 50)


def plane(own, by_slew, by_load):
    """Value over (slew in ps, load in fF), in ps or whatever the table is in."""
    return lambda slew, load: own + by_slew * slew + by_load * load


def _table(kind, value, transposed=False):
    slews, loads = ", ".join(map(str, SLEWS_PS)), ", ".join(str(load / 1000) for load in LOADS_FF)
    if transposed:
        rows = [[value(slew, load) for slew in SLEWS_PS] for load in LOADS_FF]
    else:
        rows = [[value(slew, load) for load in LOADS_FF] for slew in SLEWS_PS]
    index = (loads, slews) if transposed else (slews, loads)
    values = ", \\\n".join('"' + ", ".join(str(v) for v in row) + '"' for row in rows)
    template = "by_load" if transposed else "by_slew"
    return f'{kind} ({template}) {{ index_1 ("{index[0]}"); index_2 ("{index[1]}"); values ({values}); }}'


def _timing(related, sense, rise, fall, kind="combinational", transposed=False):
    tables = [
        _table("cell_rise", plane(rise, 0.1, 1), transposed),
        _table("cell_fall", plane(fall, 0.1, 1), transposed),
        _table("rise_transition", plane(rise / 2, 0, 2), transposed),
        _table("fall_transition", plane(fall / 2, 0, 2), transposed),
    ]
    head = f'related_pin : "{related}"; timing_sense : {sense}; timing_type : {kind};'
    return f"timing () {{ {head} {' '.join(tables)} }}"


def _power(rise, fall, related=None, when=None):
    head = (f'related_pin : "{related}"; ' if related else "") + (f'when : "{when}"; ' if when else "")
    tables = [_table("rise_power", plane(rise, 0, 0.0001)), _table("fall_power", plane(fall, 0, 0.0001))]
    return f"internal_power () {{ {head}{' '.join(tables)} }}"


def _pin(name, direction, *groups, function=None, load=0.002):
    function = f'function : "{function}"; max_capacitance : 0.05;' if function else ""
    return f"pin ({name}) {{ direction : {direction}; capacitance : {load}; {function} {' '.join(groups)} }}"


def _cell(name, area, *groups, leakage=""):
    return f"cell ({name}) {{ area : {area}; cell_leakage_power : 4; {leakage} {' '.join(groups)} }}"


_CONSTRAINT = (
    'timing () { related_pin : "CK"; timing_type : setup_rising; '
    + _table("rise_constraint", plane(30, 0, 0))
    .replace("by_slew", "setup")
    .replace("0.0, 0.005, 0.02, 0.05", "0, 5, 20, 50")
    + _table("fall_constraint", plane(20, 0, 0))
    .replace("by_slew", "setup")
    .replace("0.0, 0.005, 0.02, 0.05", "0, 5, 20, 50")
    + " }"
)

TEXT = f"""
/* round numbers; a {{ brace in a comment }} */
library (tiny) {{
  time_unit : "1ps"; voltage_unit : "1V"; leakage_power_unit : "1uW"; capacitive_load_unit (1, pf);
  nom_voltage : 2.0;
  lu_table_template (by_slew) {{ variable_1 : input_net_transition; variable_2 : total_output_net_capacitance; }}
  lu_table_template (by_load) {{ variable_1 : total_output_net_capacitance; variable_2 : input_net_transition; }}
  lu_table_template (setup) {{ variable_1 : related_pin_transition; variable_2 : constrained_pin_transition; }}
  wire_load ("small") {{ capacitance : 0.001; resistance : 0.0; slope : 2.0;
    fanout_length (1, 1.0); fanout_length (3, 2.0); }}
  default_wire_load : "small";
  {_cell("INV", 1,
         _pin("A", "input"),
         _pin("Y", "output", _timing("A", "negative_unate", 10, 8), _power(0.003, 0.001, "A"), function="!A"),
         leakage='leakage_power () { when : "A"; value : 1; } leakage_power () { when : "!A"; value : 3; }')}
  {_cell("NAND2", 2,
         _pin("A", "input"), _pin("B", "input"),
         _pin("Y", "output", _timing("A", "negative_unate", 14, 12),
              _timing("B", "negative_unate", 16, 11, transposed=True), _power(0.004, 0.002, "A"),
              _power(0.006, 0.002, "B"), function="!(A B)"))}
  {_cell("XOR2", 3,
         _pin("A", "input"), _pin("B", "input"),
         _pin("Y", "output", _timing("A", "non_unate", 20, 22), _timing("B", "non_unate", 24, 26),
              _power(0.008, 0.009, "A", "!B"), _power(0.002, 0.001, "A", "B"), _power(0.005, 0.005, "B"),
              function="A^B"))}
  {_cell("DFF", 5,
         'ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }',
         _pin("D", "input", _power(0.001, 0.003), _CONSTRAINT),
         _pin("CK", "input", _power(0.002, 0.004, when="D"), _power(0.006, 0.008, when="!D"), load=0.001),
         _pin("Q", "output", _timing("CK", "non_unate", 40, 44, "rising_edge"), _power(0.010, 0.012, "CK"),
              function="IQ"),
         _pin("QN", "output", _timing("CK", "non_unate", 46, 42, "rising_edge"), _power(0.001, 0.002, "CK"),
              function="IQN"))}
}}
"""  # fmt: skip


def tiny_library(folder):
    path = folder / "tiny.lib"
    path.write_text(TEXT)
    return Library(path)


def netlist(library, inputs, outputs, cells, name="hand"):
    """inputs, outputs: names of nets by port. cells: (type, {pin: net}). A net is any name."""
    numbers = {}

    def bit(net):
        return net if net in ("0", "1") else numbers.setdefault(net, len(numbers) + 2)

    ports = {port: {"direction": "input", "bits": [bit(n) for n in nets]} for port, nets in inputs.items()}
    ports |= {port: {"direction": "output", "bits": [bit(n) for n in nets]} for port, nets in outputs.items()}
    told = {
        f"c{i}": {"type": kind, "connections": {pin: [bit(net)] for pin, net in pins.items()}}
        for i, (kind, pins) in enumerate(cells)
    }
    return Netlist.from_yosys({"modules": {name: {"ports": ports, "cells": told}}}, name, library)
