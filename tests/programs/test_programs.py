"""Programs that others wrote train unmodified, in the arithmetic alone, and their losses fall."""

import pytest
import torch
from models import PROGRAMS
from torch.nn.utils import clip_grad_norm_

import slipstick as ss

ARITHMETIC = ss.LogArithmetic(ss.LNS(5, 8))
UPDATE = ss.LogArithmetic(ss.LNS(5, 12))
READ_BY_THE_TEST = "aten._local_scalar_dense.default"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_others_trains(name):
    if name not in ("lstm", "gru"):
        pytest.importorskip("diffusers" if name in ("unet", "autoencoder") else "transformers")
    torch.manual_seed(0)
    model, loss = PROGRAMS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    with ss.use(ARITHMETIC, update=UPDATE, audit=True) as run:
        for _ in range(5):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(value.item())
    assert losses[-1] < losses[0] - 0.01
    outside = {operator: counts["outside"] for operator, counts in run.audit.counts.items() if counts["outside"]}
    assert set(outside) <= {READ_BY_THE_TEST}
    for parameter in model.parameters():
        if parameter.grad is None:
            continue  # what no loss depends on stays as it was made
        assert torch.equal(parameter, ss.snap_(parameter.detach().clone(), UPDATE))


def test_a_generator_and_a_discriminator_train_against_each_other():
    """Alternately, with an optimiser each; the generator's gradient comes through the discriminator."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=4, upsample_initial_channel=8, upsample_rates=[2, 2], upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]], normalize_before=False,
    )  # fmt: skip
    generator = transformers.SpeechT5HifiGan(config)
    layers = (torch.nn.Conv1d(1, 8, 5, 2), torch.nn.LeakyReLU(0.2), torch.nn.Conv1d(8, 1, 5, 2))
    discriminator = torch.nn.Sequential(*layers)
    ours, theirs = (torch.optim.Adam(net.parameters(), lr=0.03) for net in (generator, discriminator))
    noise, real = torch.randn(4, 6, 4), torch.sin(torch.arange(24.0)).repeat(4, 1)
    score = torch.nn.functional.softplus

    def judged(waves):
        return discriminator(waves.unsqueeze(1)).mean((1, 2))

    judgement, fooled = [], []
    with ss.use(ARITHMETIC, update=UPDATE):
        for _ in range(6):
            theirs.zero_grad()
            loss = score(-judged(real)).mean() + score(judged(generator(noise).detach())).mean()
            loss.backward()
            theirs.step()
            judgement.append(loss.item())
        for _ in range(6):
            ours.zero_grad()
            loss = score(-judged(generator(noise))).mean()
            loss.backward()
            ours.step()
            fooled.append(loss.item())
    assert judgement[-1] < judgement[0]
    assert fooled[-1] < fooled[0]


class Sentences(torch.utils.data.Dataset):
    def __init__(self):
        self._x = torch.randint(1, 50, (16, 8), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self._x)

    def __getitem__(self, index):
        return {"input_ids": self._x[index], "labels": self._x[index]}


def test_the_trainer_of_a_library_runs_inside(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    model, _ = PROGRAMS["gpt2"]()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=3, per_device_train_batch_size=4, learning_rate=0.01, seed=0,
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=Sentences())
    with ss.use(ARITHMETIC, update=UPDATE, audit=True) as run:
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] - 0.1
    assert run.audit.counts["aten.addmm.default"]["defined"] > 0
    assert set(run.audit.totals()) == {"defined", "decomposed", "exact", "outside"}
