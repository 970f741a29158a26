"""Images that do not fit in memory: decoded batch by batch, in processes of their own, ahead of what is asked for."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pipeline.compute.interruption import SIGNALS
from pipeline.compute.workers import process_pool
from pipeline.data.decoding import Announced, Conversions, PixelArray, UnreadableImageError
from pipeline.data.images import Images, ImageSet, parts
from pipeline.data.table import ImageTable

CPU = torch.device("cpu")
AHEAD = 2  # batches for each process: one that it decodes, and one that waits
KEPT_AT_ONCE = 256  # images

_own_table: ImageTable  # of a process that decodes


class Decoder:
    """Decodes rows of a table in processes that begin with the first batch and stay, in this one where `workers` is 0.

    Not torch's DataLoader: one whose processes stay goes through one pass at a time, and a search has two at once.
    """

    def __init__(self, table: ImageTable, workers: int) -> None:
        self.table = table
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._announce = Announced(table.split)

    def __call__(self, chosen: Iterable[Tensor]) -> Iterator[PixelArray]:
        """The images [n, C, H, W] of each batch of rows, in order.

        Says once on standard error how images are converted, where some are.
        Raises UnreadableImageError, and BrokenProcessPool where a process died.
        """
        for pixels, conversions in self._batches(chosen):
            self._announce(conversions)
            yield pixels

    def _batches(self, chosen: Iterable[Tensor]) -> Iterator[tuple[PixelArray, Conversions]]:
        if not self._workers:
            for rows in chosen:
                yield self.table.decoded(rows.tolist())
            return
        waiting: deque[Future[tuple[PixelArray, Conversions]]] = deque()
        try:
            for rows in chosen:
                waiting.append(self._processes().submit(_decoded, rows.tolist()))
                if len(waiting) > AHEAD * self._workers:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            deaf_to = (*SIGNALS, signal.SIGINT)
            self._pool = process_pool(self._workers, 1, deaf_to=deaf_to, prepare=partial(_hold, self.table))
        return self._pool


def _hold(table: ImageTable) -> None:
    global _own_table
    _own_table = table


def _decoded(rows: list[int]) -> tuple[PixelArray, Conversions]:
    return _own_table.decoded(rows)


def _result(future: Future[tuple[PixelArray, Conversions]]) -> tuple[PixelArray, Conversions]:
    try:
        return future.result()
    except UnreadableImageError as error:
        raise UnreadableImageError(str(error)) from None  # as if it had been raised here, without the other's traceback


@dataclass(frozen=True)
class StreamedImages(ImageSet):
    """On disk.

    rows: int64 [N], in the decoder's table.  labels: int64 [N].  Both on the CPU.  device: to which batches go.
    """

    decoder: Decoder
    rows: Tensor
    labels: Tensor
    device: torch.device = CPU

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, H, W] of each image."""
        return self.decoder.table.shape

    def take(self, indices: Tensor) -> StreamedImages:
        """Return the images at `indices`, in that order."""
        return replace(self, rows=self.rows[indices.cpu()], labels=self.labels[indices.cpu()])

    def to(self, device: torch.device) -> StreamedImages:
        """Send the batches of these images to a device."""
        return replace(self, device=device)

    def kept(self) -> Images:
        """Keep the images in memory, for sets that are small."""
        empty = torch.empty(0, *self.shape, dtype=torch.uint8, device=self.device)
        read = self.pixels(parts(torch.arange(len(self)), KEPT_AT_ONCE))
        return Images(torch.cat([empty, *read]), self.labels.to(self.device))

    def pixels(self, chosen: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each batch of indices: uint8 [n, C, H, W]. Raises UnreadableImageError."""
        for decoded in self.decoder(self.rows[indices.cpu()] for indices in chosen):
            pixels = torch.from_numpy(decoded)
            if self.device.type == "cuda":
                pixels = pixels.pin_memory()
            yield pixels.to(self.device, non_blocking=True)
