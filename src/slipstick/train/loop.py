"""The training loop: an unmodified network, loss and optimiser, run inside the experiment's arithmetic or recipe.

Forward, backward, optimiser step and the forward pass of the evaluation run in the arithmetic. Metrics do not: losses
and predictions are read from the results by ordinary PyTorch. Hyper-parameters are host constants. A run is
determined by its experiment; interrupted and resumed it ends in the same bits.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from slipstick.arithmetic.distances import FILE_NAME as DISTANCES
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.train.atomic_files import remove_partial_files, write_json, write_text, writing
from slipstick.train.checkpoints import Checkpoint, Position, load_checkpoint, save_checkpoint
from slipstick.train.config import Experiment
from slipstick.train.data import Batch, Data, load_data
from slipstick.train.distance_log import DistanceLog
from slipstick.train.execution import Execution
from slipstick.train.folder_lock import lock_folder
from slipstick.train.group_start import GroupStart
from slipstick.train.initial_weights import load_initial_weights
from slipstick.train.interrupts import Interrupted, StopRequest
from slipstick.train.metrics import MetricsLog, Row, Totals, read_metrics
from slipstick.train.micro_batches import Forward, MicroBatches, Outcome
from slipstick.train.models import build_model
from slipstick.train.naming import run_folder, run_label
from slipstick.train.observer import Observer
from slipstick.train.optimizers import build_optimizer, learning_rate, set_learning_rate
from slipstick.train.progress import EpochSummary, TrainingProgress
from slipstick.train.run_folder import (
    Result,
    check_folder,
    prepare_folder,
    read_result,
    record_environment,
    write_result,
)
from slipstick.train.watch_log import WatchLog
from slipstick.train.workers import ALONE, LostWorkerError, Shares, Workers

_EVALUATION_BATCH = 250
_MEDIAN_EPOCHS = 10
_CALIBRATION_BATCHES = 8


def train(
    experiment: Experiment,
    data: Data | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    stop: StopRequest | None = None,
    record_every: int | None = None,
    observe: Callable[[nn.Module], Observer] | None = None,
    after_epoch: Callable[[Row], None] | None = None,
) -> Result:
    """Run ``experiment`` into its run folder; returns how it ended.

    data: as ``load_data`` gives it, to share between runs. resume: continue from the folder's checkpoint, if any.
    record_every: measure the distances of log additions at every so-many-th step, into distances.json.
    observe: given the network, returns what watches it train; its state is kept in the checkpoints.
    after_epoch: called with every epoch's row once its checkpoint is written; what it raises ends the run, which can be
        resumed from there.
    Started by torchrun, the processes share every batch's micro-batches; the first writes the folder, all
    return the same. Raises LostWorkerError in those that are left, after a checkpoint.
    Raises SpecificationError, also where another process runs in the folder, StorageError where the disk refuses,
    UnsupportedOperation, or Interrupted after a signal and a checkpoint.
    """
    workers = Workers.join()
    data = load_data(experiment) if data is None else data
    distances = None if record_every is None else DistanceLog(experiment, record_every)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(experiment.threads or threads)
            with GroupStart(experiment, workers) as start:
                experiment, resume = start.experiment, resume or start.follows
                folder = run_folder(experiment)
                fresh = check_folder(folder, experiment, resume, overwrite) == "absent"
                run = Run(experiment, data, distances, fresh, observe, workers)
                run.after_epoch = after_epoch
                with lock_folder(folder) if overwrite or not read_result(folder) else nullcontext():
                    state = prepare_folder(folder, experiment, resume, overwrite)
                    if state != "complete":
                        remove_partial_files(folder)
                        record_environment(folder, data.facts)
                    start.ready(folder)
                    if state == "complete" and (result := read_result(folder)):
                        return result
                    return run.execute(folder, state == "started", quiet or start.follows, stop or StopRequest())
        finally:
            torch.set_num_threads(threads)


class DivergenceError(Exception):
    """The loss is no number any more."""


class Run:
    """One run in memory: network, optimiser, how far it is."""

    def __init__(
        self,
        experiment: Experiment,
        data: Data,
        distances: DistanceLog | None = None,
        fresh: bool = True,
        observe: Callable[[nn.Module], Observer] | None = None,
        workers: Workers = ALONE,
    ) -> None:
        """``fresh``: not to be resumed from a checkpoint, so that it needs its initial weights."""
        self.experiment = experiment
        self.data = data
        self.distances = distances
        self.execution = Execution.of(experiment)
        torch.manual_seed(experiment.seed)
        self.model: nn.Module = build_model(experiment.model, data.shape, data.classes)
        if fresh and experiment.weights is not None:
            load_initial_weights(self.model, experiment.weights)
        self.quantization = self.execution.quantize(self.model, self._calibration_inputs())
        self.optimizer = build_optimizer(experiment, self.model.named_parameters())
        if self.quantization is not None:
            self.quantization.attach(self.optimizer)
        self.execution.snap_(self.model)
        self.observer = None if observe is None else observe(self.model)
        self.workers = workers
        self.micro_batches = self._micro_batches()
        self._agreed_signal: int | None = None
        self.watch = WatchLog.of(experiment, self.model, self.optimizer)
        self.position = Position()
        self.after_epoch: Callable[[Row], None] | None = None
        self._distances_text: str | None = None

    def _calibration_inputs(self) -> Iterator[torch.Tensor]:
        batches = self.data.training_batches(self.experiment.seed, 0, 0)
        return (inputs for inputs, _ in islice(batches, _CALIBRATION_BATCHES))

    def _micro_batches(self) -> MicroBatches | None:
        """None where a batch is computed as a whole."""
        experiment = self.experiment
        if self.workers.size == 1 and experiment.micro_batches == 1:
            return None
        return MicroBatches(self.model, experiment.micro_batches, self.workers, experiment.seed, experiment.loss_scale)

    def execute(self, folder: Path, resume: bool, quiet: bool, stop: StopRequest) -> Result:
        """Train from the beginning or the folder's checkpoint to the end."""
        keep_bytes = self._restore(folder) if resume else None
        steps = self.experiment.epochs * self.data.steps_per_epoch
        label = run_label(self.experiment)
        self._folder, self._stop = folder, stop
        self._resumed_at, self._saved_at = self.position.elapsed, time.perf_counter()
        self._started_at = time.perf_counter()
        with (
            MetricsLog(folder, keep_bytes, self._global_step) as self._log,
            TrainingProgress(label, steps, self._global_step, quiet) as self._progress,
            self.watch.open(folder, self._global_step, self._log, self._progress),
            stop if steps else nullcontext(),  # an evaluation has no step to stop after: Ctrl-C ends it at once
        ):
            try:
                if steps == 0:
                    self._evaluate_only()
                for _ in range(self.position.epoch, self.experiment.epochs):
                    self._epoch()
            except LostWorkerError as error:
                raise self._stranded(error) from None
            except (NonFiniteError, DivergenceError) as error:
                when = f"epoch {self.position.epoch + 1}" if steps else "evaluation"
                return self._finish("diverged", f"{error} ({when})")
            return self._finish("finished", "")

    @property
    def _global_step(self) -> int:
        return self.position.epoch * self.data.steps_per_epoch + self.position.step

    def _learning_rate(self, step: int) -> float:
        return learning_rate(self.experiment, step, self.data.steps_per_epoch)

    @property
    def _elapsed(self) -> float:
        return self._resumed_at + time.perf_counter() - self._started_at

    def _evaluate_only(self) -> None:
        self._checkpoint()  # of the beginning, so that a resumed evaluation is a whole one
        test_loss, test_accuracy = self.evaluate()
        self._log.append(Row("epoch", 0, 0, None, None, None, test_loss, test_accuracy, None, self._elapsed))
        self._progress.evaluation(test_loss, test_accuracy)

    def _epoch(self) -> None:
        position = self.position
        for inputs, targets in self.data.training_batches(self.experiment.seed, position.epoch, position.step):
            self._step(inputs, targets)
            position.step += 1
            if self._global_step % self.experiment.log_every == 0:
                self._log.append(self._row("step", position.window_totals))
                position.window_totals = Totals()
            if self._signal is not None or self._checkpoint_is_due:
                self._checkpoint()
        test_loss, test_accuracy = self.evaluate()
        totals = position.epoch_totals
        row = self._row("epoch", totals, test_loss, test_accuracy)
        self._log.append(row)
        self._progress.epoch(
            EpochSummary(
                row.epoch,
                self.experiment.epochs,
                totals.mean_loss,
                totals.accuracy,
                test_loss,
                test_accuracy,
                totals.step_seconds,
            )
        )
        position.epoch, position.step, position.epoch_totals = position.epoch + 1, 0, Totals()
        self._checkpoint(test_accuracy)
        if self.after_epoch is not None:
            self.after_epoch(row)

    def _step(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        first = self._global_step == 0
        recorder = None if self.distances is None else self.distances.recorder(self._global_step)
        set_learning_rate(self.optimizer, self._learning_rate(self._global_step))
        self.model.train()
        self.watch.before_step(self.position.epoch + 1, lambda model: F.cross_entropy(*_flat(model(inputs), targets)))
        start = time.perf_counter()
        with self.execution.context(audit=first, record=recorder) as run:
            outcome = self._backward(inputs, targets)
            self.optimizer.step()
        seconds = time.perf_counter() - start
        self._agreed_signal = outcome.signal
        if first and run is not None:
            write_json(self._folder / "audit.json", {"counts": run.audit.counts, "totals": run.audit.totals()})
        if self.distances is not None:
            self.distances.add(recorder)
        if self.observer is not None:
            self.observer.after_backward()
        value, count = outcome.loss, targets.numel()
        if not math.isfinite(value):
            raise DivergenceError(f"the loss became {value} at step {self._global_step + 1}; try a lower optimizer.lr")
        for totals in (self.position.epoch_totals, self.position.window_totals):
            totals.add(value, outcome.correct, count, seconds)
        self._progress.step(value, outcome.correct / count, seconds)

    def _backward(self, inputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
        """Gradients of the mean loss, of the batch as a whole or by micro-batches."""
        if self.micro_batches is not None:
            return self.micro_batches.backward(inputs, targets, self._global_step, self._forward, self._stop.requested)
        forward = self._forward(inputs, targets)
        self.optimizer.zero_grad()
        scale = self.experiment.loss_scale
        if scale == 1:
            forward.loss.backward()
        else:
            (forward.loss * scale).backward()
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(1 / scale)
        return Outcome(*forward.read(), None)

    def _forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> Forward:
        logits, labels = _flat(self.model(inputs), targets)
        return Forward(F.cross_entropy(logits, labels), logits, labels)

    def evaluate(self) -> tuple[float, float]:
        """Loss and accuracy on the test set: forward in the arithmetic, loss and prediction read exactly from it."""
        self.model.eval()
        shares = Shares(self.workers)
        with torch.no_grad():
            shares.each(self.data.test_batches(_EVALUATION_BATCH), self._evaluate_batch)
        loss, correct, count = shares.totals()
        return loss / count, correct / count

    def _evaluate_batch(self, batch: Batch) -> tuple[float, int, int]:
        inputs, targets = batch
        with self.execution.context():
            logits, labels = _flat(self.model(inputs), targets)
        loss = F.cross_entropy(logits.double(), labels, reduction="sum").item()
        return loss, int((logits.argmax(dim=1) == labels).sum()), len(labels)

    def _row(self, kind: str, totals: Totals, test_loss: float | None = None, accuracy: float | None = None) -> Row:
        return Row(
            kind=kind,
            epoch=self.position.epoch + 1 if self.position.step else self.position.epoch,
            step=self._global_step,
            lr=self._learning_rate(self._global_step - 1),
            train_loss=totals.mean_loss,
            train_accuracy=totals.accuracy,
            test_loss=test_loss,
            test_accuracy=accuracy,
            step_seconds=totals.step_seconds,
            elapsed_seconds=self._elapsed,
        )

    @property
    def _signal(self) -> int | None:
        """That asks to stop. Several processes stop at the same step, that of the last exchange."""
        return self._stop.requested if self.workers.size == 1 else self._agreed_signal

    def _stranded(self, error: LostWorkerError) -> LostWorkerError:
        """After a checkpoint of the last step that is whole."""
        self._checkpoint()
        return LostWorkerError(
            f"{self._folder}: stopped after step {self._global_step}: {error}; start all processes again with --resume"
        )

    @property
    def _checkpoint_is_due(self) -> bool:
        minutes, steps = self.experiment.checkpoint_minutes, self.experiment.checkpoint_steps
        by_steps = steps is not None and self._global_step % steps == 0
        return by_steps or time.perf_counter() - self._saved_at > 60 * minutes

    def _checkpoint(self, test_accuracy: float | None = None) -> None:
        """Save; leave the loop if a signal asked for it and there is something left to do."""
        self.position.elapsed = self._elapsed
        self._write_distances(self._folder)
        described = self.execution.describe()
        checkpoint = Checkpoint(self.position, self._log.sync(), described, test_accuracy, self._distances_text)
        save_checkpoint(
            self._folder,
            checkpoint,
            self.model,
            self.optimizer,
            self.quantization,
            self.observer,
            formats=self.execution.formats,
            keep=self.experiment.checkpoint_keep,
        )
        self._saved_at = time.perf_counter()
        signal_number = self._signal
        if signal_number is not None and self.position.epoch < self.experiment.epochs:
            done = f"step {self._global_step} of {self.experiment.epochs * self.data.steps_per_epoch}"
            raise Interrupted(f"{self._folder}: stopped after {done}", signal_number)

    def _write_distances(self, folder: Path) -> None:
        if self.distances is not None:
            self._distances_text = self.distances.text
        if self._distances_text is not None:
            write_text(folder / DISTANCES, self._distances_text)

    def _restore(self, folder: Path) -> int:
        checkpoint = load_checkpoint(folder, self.model, self.optimizer, self.quantization, self.observer)
        if checkpoint.execution != self.execution.describe():
            what = f"tables for {self.experiment.arithmetic!r}"
            if self.execution.recipe is not None:
                what = f"recipe {self.execution.recipe.name!r}"
            raise SpecificationError(
                f"{folder}: this build's {what} is not what it was started with; "
                "use the slipstick version in its environment.json, or --overwrite"
            )
        self.position = checkpoint.position
        self._distances_text = checkpoint.distances
        if self.distances is not None:
            self.distances.restore(checkpoint.distances)
        if checkpoint.distances is None:
            with writing(folder / DISTANCES):
                (folder / DISTANCES).unlink(missing_ok=True)
        self._write_distances(folder)
        return checkpoint.metrics_bytes

    def _finish(self, status: Any, message: str) -> Result:
        self._log.sync()
        self._write_distances(self._folder)
        epochs = [row for row in read_metrics(self._folder) if row.kind == "epoch"]
        accuracies = [row.test_accuracy for row in epochs if row.test_accuracy is not None]
        result = Result(
            status=status,
            message=message,
            epochs=self.position.epoch,
            steps=self._global_step,
            accuracy=accuracies[-1] if accuracies else None,
            best_accuracy=max(accuracies, default=None),
            median_last_accuracy=statistics.median(accuracies[-_MEDIAN_EPOCHS:]) if accuracies else None,
            test_loss=epochs[-1].test_loss if epochs else None,
            elapsed_seconds=self._elapsed,
            training_images=self.data.training_samples,
            test_images=self.data.test_samples,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
        )
        write_result(self._folder, result)
        return result


def _flat(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, classes) and labels (N,), also where a sample has several positions: (samples, positions, ...)."""
    return logits.flatten(0, -2), targets.flatten()
