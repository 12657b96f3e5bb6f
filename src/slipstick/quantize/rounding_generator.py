"""The random numbers of stochastic rounding: an explicit stream, apart from PyTorch's global generator."""

from collections.abc import Mapping

import torch

from slipstick.errors import SpecificationError


class RoundingGenerator:
    """One ``torch.Generator`` for each device in use, all seeded alike; shared by the quantisers of a model."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._by_device: dict[str, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """The generator for tensors on ``device``."""
        name = str(device)
        if name not in self._by_device:
            self._by_device[name] = torch.Generator(device=device).manual_seed(self._seed)
        return self._by_device[name]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The states (uint8) by device."""
        return {name: generator.get_state() for name, generator in self._by_device.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._by_device.clear()
        try:
            for name, value in state.items():
                self.on(torch.device(name)).set_state(value)
        except (RuntimeError, TypeError) as error:
            raise SpecificationError(f"generator state: {str(error).splitlines()[0]}") from None
