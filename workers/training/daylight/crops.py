"""What the autoencoder is shown: small pieces of the pictures, those with fine detail more often than they occur."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from workers.training.daylight.ceramics import Ceramic
from workers.training.daylight.dataset import Part

CELL = 8  # pixels that become one latent
CROP = 64
_CANDIDATES = 3
_AS_THEY_COME = 0.25
_SPECKLED = 4.0  # how much oftener: nothing else is as small as speckles
_SMALLER = 0.33  # share of the batches at two thirds of the size


class Crops:
    """Draws crops from `parts`, which it keeps on `device`."""

    def __init__(self, parts: Iterable[Part], device: torch.device) -> None:
        taken = list(parts)
        subjects = [subject for part in taken for subject in part.subjects]
        fine = [isinstance(subject, Ceramic) and subject.finish == "speckled" for subject in subjects]
        self._pictures = torch.cat([torch.from_numpy(part.pictures).to(device) for part in taken])
        self._odds = torch.where(torch.tensor(fine), _SPECKLED, 1.0).to(device)

    def draw(self, count: int, rng: np.random.Generator) -> Tensor:
        """`count` pictures of CROP x CROP on the latent grid, from -1 to 1.

        Of every few candidates the one with the most detail is taken: skies and walls are learnt soon enough. A part
        of the crops is taken as it comes all the same, so that what is flat stays flat.
        """
        smaller = bool(rng.random() < _SMALLER)
        candidates = self._cut(count * _CANDIDATES, CROP * 3 // 2 if smaller else CROP)
        green = candidates[..., 1].float()
        detail = green.diff(dim=1).abs().mean((1, 2)) + green.diff(dim=2).abs().mean((1, 2))
        first = torch.arange(count, device=detail.device) * _CANDIDATES
        finest = detail.reshape(count, _CANDIDATES).argmax(1)
        finest[: int(count * _AS_THEY_COME)] = 0
        best = candidates[first + finest]
        batch = best.permute(0, 3, 1, 2).float() / 127.5 - 1
        if smaller:
            batch = functional.interpolate(batch, size=(CROP, CROP), mode="bilinear", antialias=True)
        if rng.random() < 0.5:
            batch = batch.flip(3)
        return batch.contiguous(memory_format=torch.channels_last)

    def _cut(self, count: int, side: int) -> Tensor:
        device = self._odds.device
        steps = (self._pictures.shape[1] - side) // CELL + 1
        reach = torch.arange(side, device=device)
        rows, columns = (torch.randint(steps, (count, 1), device=device) * CELL + reach for _ in range(2))
        which = torch.multinomial(self._odds, count, replacement=True)
        return self._pictures[which[:, None, None], rows[:, :, None], columns[:, None, :]]
