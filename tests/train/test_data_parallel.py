"""Gradients of micro-batches are added by a fixed tree: the same bits from 1, 2 and 4 processes."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from group import EXPERIMENT
from safetensors.torch import load_file
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.train import Experiment
from slipstick.train.micro_batches import Forward, MicroBatches, PairwiseSum
from slipstick.train.workers import LostWorkerError, Workers

COMPUTE = ss.LogArithmetic(ss.LNS(5, 5), add="hamad2025")
UPDATE = ss.LogArithmetic(ss.LNS(5, 9), add="exact")


class Sum(str):
    """Adds by writing the addition down."""

    def __add__(self, other: str) -> "Sum":
        return Sum(f"({self}+{other})")


def test_the_tree_is_balanced_and_in_the_order_of_the_terms() -> None:
    whole = PairwiseSum()
    for term in "abcdefgh":
        whole.add(Sum(term))
    assert whole.total == "(((a+b)+(c+d))+((e+f)+(g+h)))"


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return ss.snap_(model, UPDATE)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 6, generator=generator), torch.randint(3, (12,), generator=generator)


def forward(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Forward:
    logits = model(x)
    return Forward(F.cross_entropy(logits, y), logits, y)


@pytest.mark.parametrize("loss_scale", [1.0, 64.0])
def test_gradients_and_running_statistics_are_means_in_the_arithmetic(loss_scale: float) -> None:
    x, y = batch()
    model = network()
    with ss.use(COMPUTE, update=UPDATE):
        parts = MicroBatches(model, 4, Workers(), 0, loss_scale)
        outcome = parts.backward(x, y, 0, lambda x, y: forward(model, x, y))

    gradients, means, losses = [], [], []
    for i in range(4):
        one = network()
        with ss.use(COMPUTE, update=UPDATE):
            seen = forward(one, x[3 * i : 3 * i + 3], y[3 * i : 3 * i + 3])
            (seen.loss * loss_scale).backward()
        gradients.append([p.grad for p in one.parameters()])
        means.append([b for b in one.buffers() if b.is_floating_point()])
        losses.append(seen.loss.item())
    with ss.use(COMPUTE):
        expected = [((a + b) + (c + d)) * (1 / (4 * loss_scale)) for a, b, c, d in zip(*gradients, strict=True)]
    with ss.use(UPDATE):
        running = [((a + b) + (c + d)) * (1 / 4) for a, b, c, d in zip(*means, strict=True)]
    assert all(torch.equal(p.grad, e) for p, e in zip(model.parameters(), expected, strict=True))
    assert all(torch.equal(b, e) for b, e in zip([model[1].running_mean, model[1].running_var], running, strict=True))
    assert model[1].num_batches_tracked == 1
    assert outcome.loss == sum(losses) / 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"micro_batches": 3}, "not a power of two"),
        ({"batch": 30, "micro_batches": 4}, "cannot be cut into micro_batches = 4"),
        ({"micro_batches": 4, "arithmetic": "fp32", "update": None, "quantize": "fp8"}, "does not go with quantize"),
    ],
)
def test_an_experiment_that_cannot_be_cut_is_refused(change, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Experiment(**{**EXPERIMENT, **change})


@pytest.mark.parametrize("size", [2, 3, 8])
def test_processes_that_cannot_share_the_parts_are_refused(size: int) -> None:
    with pytest.raises(SpecificationError, match=f"{size} processes: micro_batches = 1 can be shared by 1;"):
        MicroBatches(network(), 1, Workers(0, size), 0, 1.0)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """What group.py leaves, and what it says."""
    folder = tmp_path_factory.mktemp("groups")
    script = Path(__file__).with_name("group.py")
    ran = subprocess.run(
        [sys.executable, script, folder],
        env={**os.environ, "TMPDIR": str(folder)},  # where a process that is killed leaves its scratch folder
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return folder, ran.stdout.splitlines()


def final_state(run: Path) -> dict[str, torch.Tensor]:
    (folder,) = run.glob("group/*")
    return load_file(sorted(folder.glob("checkpoint-*.safetensors"))[-1])


def rows(run: Path) -> list[dict[str, str]]:
    (file,) = run.glob("group/*/metrics.csv")
    with file.open() as lines:
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(lines)]


def same(run: Path, other: Path) -> bool:
    one, two = final_state(run), final_state(other)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one) and rows(run) == rows(other)


def test_one_two_and_four_processes_end_in_the_same_bits(groups: tuple[Path, list[str]]) -> None:
    folder, said = groups
    assert [line for line in said if line[:1] in ("1", "2", "4")] == ["1 [0]", "2 [0, 0]", "4 [0, 0, 0, 0]"]
    assert len(rows(folder / "1")) == 8
    assert same(folder / "1", folder / "2")
    assert same(folder / "1", folder / "4")


def test_a_lost_process_ends_the_run_and_others_go_on_from_its_checkpoint(groups: tuple[Path, list[str]]) -> None:
    folder, said = groups
    (told,) = [line for line in said if "stopped after" in line]
    assert "stopped after step 2: another process has ended or cannot be reached (" in told
    assert told.endswith("start all processes again with --resume")
    assert "lost [512, 9]" in said
    assert "resumed [0, 0, 0, 0]" in said
    assert same(folder / "1", folder / "lost")


@pytest.mark.parametrize(
    ("gloo", "first"),
    [
        ("[/gloo/pair.cc:537] Connection closed by peer [127.0.0.1]:4242. It crashed.", "Connection closed by peer"),
        ("[/gloo/pair.cc:553] Read error [::1]:4242: Connection reset by peer", "Read error Connection reset by peer"),
        ("[/gloo/pair.cc:9] The pair is closed. Check the logs. GLHF! \N{DESERT ISLAND}", "The pair is closed"),
        ("Timed out!\nElsewhere", "Timed out"),
    ],
)
def test_what_the_transport_says_is_cut_to_its_first_sentence(
    gloo: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise RuntimeError(gloo)

    monkeypatch.setattr(torch.distributed, "all_gather", lost)
    with pytest.raises(LostWorkerError) as told:
        Workers(0, 2).gather(torch.zeros(1))
    assert str(told.value) == f"another process has ended or cannot be reached ({first})"


def test_a_wrong_number_of_processes_is_said_once(groups: tuple[Path, list[str]]) -> None:
    told = [line for line in groups[1] if "3 processes" in line]
    assert len(told) == 1
    assert "rank 1: process 1: not started, see what process 0 says" in groups[1]
    assert "three [512, 512, 512]" in groups[1]


def _has_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "slipstick-probe"], capture_output=True, check=False)
    return (
        made.returncode == 0 and subprocess.run(["ip", "netns", "del", "slipstick-probe"], check=False).returncode == 0
    )


@pytest.fixture
def hosts():
    """Two network namespaces joined by a cable: names and addresses."""
    names = [f"slipstick-{os.getpid()}-{i}" for i in range(2)]
    cable = [f"ss{os.getpid() % 100000}{i}" for i in range(2)]
    addresses = ["10.231.77.1", "10.231.77.2"]
    ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
    try:
        for name, end, address in zip(names, cable, addresses, strict=True):
            ip("netns", "add", name)
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield list(zip(names, cable, addresses, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_processes_on_two_hosts_end_in_the_same_bits(tmp_path: Path, request: pytest.FixtureRequest, groups) -> None:
    """Each host sees its own folder only: what the second one needs comes over the cable."""
    if not _has_namespaces():
        pytest.skip("needs root and ip netns, to make two hosts of one machine")
    hosts = request.getfixturevalue("hosts")
    toml = tmp_path / "group.toml"
    toml.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in EXPERIMENT.items()))
    started = []
    for rank, (name, interface, _) in enumerate(hosts):
        (tmp_path / str(rank)).mkdir()
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
        command += [f"--node-rank={rank}", "--nproc-per-node=1", f"--master-addr={hosts[0][2]}", "--master-port=29511"]
        command += ["-m", "slipstick.cli", "train", str(toml), "--out", "runs"]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": interface, "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(command, cwd=tmp_path / str(rank), env=environment))
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    assert same(groups[0] / "1", tmp_path / "0" / "runs")
    assert not (tmp_path / "1" / "runs").exists()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)
