"""An experiment's float32 training by the loop that trains all, from nothing to its statistics.

What the probe has seen is part of the run's checkpoints, so an interrupted run resumes to the same statistics. Needs
``slipstick[train]``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from slipstick.assign.probe_options import ProbeOptions
from slipstick.assign.run_control import RunControl
from slipstick.errors import SpecificationError
from slipstick.precision.probe import Probe
from slipstick.precision.statistics import Statistics
from slipstick.train import Data, Experiment, load_data, run_folder, train
from slipstick.train.checkpoints import read_model_state, read_observer_state
from slipstick.train.optimizers import learning_rate
from slipstick.train.run_folder import check_folder

TEXT_DRAWS = 16
"""Random signs for each window of a text, whose positions times characters are too many to go through."""


def probe_training(
    experiment: Experiment,
    data: Data | None = None,
    *,
    options: ProbeOptions | None = None,
    control: RunControl | None = None,
) -> Statistics:
    """Train ``experiment`` as ``slipstick.train.train`` does, watched by a probe; returns the statistics.

    They are kept in the run folder, in statistics.json. Noise gains are those of the network at the end, over the
    first training samples of the first epoch; of text with 16 draws where options give none. smallest_lr is that of
    the last step. Raises as ``train`` and ``Probe`` do, and SpecificationError for an experiment that is not plain
    float32, a run that diverged, or one that was not watched from its beginning.
    """
    options, control = _fitting(options or ProbeOptions(), experiment), control or RunControl()
    if not experiment.is_fp32:
        raise SpecificationError(f"probe: {experiment.name} is no plain fp32 training; give arithmetic = fp32 alone")
    if experiment.epochs == 0:
        raise SpecificationError("epochs = 0: there is no training to probe; give at least 1")
    folder = run_folder(experiment)
    data = load_data(experiment) if data is None else data
    probes: list[Probe] = []

    def observe(model: nn.Module) -> Probe:
        probes.append(options.watch(model, data.test_batches(1)))
        return probes[-1]

    result = train(
        experiment,
        data,
        resume=control.resume,
        overwrite=control.overwrite,
        quiet=control.quiet,
        stop=control.stop,
        observe=observe,
    )
    if result.status == "diverged":
        raise SpecificationError(f"{folder}: the training diverged ({result.message}); nothing can be assigned from it")
    (probe,) = probes
    probe.remove()
    probe.load_state_dict(read_observer_state(folder))
    probe.model.load_state_dict(read_model_state(folder)[0])  # of a run that was complete the network is a new one
    smallest_lr = learning_rate(experiment, probe.steps - 1, data.steps_per_epoch)
    with _threads(experiment.threads):
        batches = data.training_batches(experiment.seed, epoch=0)
        return options.statistics(probe, batches, smallest_lr, experiment.batch, folder, control.quiet)


def known_statistics(experiment: Experiment, options: ProbeOptions) -> Statistics | None:
    """What ``probe_training`` would read rather than measure, without a look at the data; None where there is none.

    Raises SpecificationError where the run folder holds another experiment.
    """
    folder = run_folder(experiment)
    if check_folder(folder, experiment, resume=True, overwrite=False) != "complete":
        return None
    return _fitting(options, experiment).known(folder, experiment.batch)


def _fitting(options: ProbeOptions, experiment: Experiment) -> ProbeOptions:
    if experiment.reads_text and options.draws is None:
        return replace(options, draws=TEXT_DRAWS)
    return options


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
