"""Settings of the training of the network that continues Green's functions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.base import AtLeastTwo, Count, Positive, Settings, UpToOne

Size = Annotated[int, Field(ge=1, le=512)]


class ContinuationTrainingSettings(Settings):
    """Training on simulated spectra at random temperatures, windows, points and noise."""

    shapes: Literal["gaussians", "wide"] = Field(
        "gaussians", description="spectra that are simulated: mixtures of Gaussians alone, or with other shapes too"
    )
    stages: Annotated[int, Field(ge=2, le=64)] = Field(6, description="convex problems that are solved in turn")
    channels: Size = Field(16, description="of each stage's convolutions")
    steps: Count = Field(8000, description="of Adam, a batch each")
    batch_size: Count = Field(40, description="simulated spectra of a step; they share kernel, temperature and points")
    learning_rate: Positive = Field(2e-3, description="of Adam; a cosine lowers it")
    final_rate: UpToOne = Field(0.01, description="learning rate at the end of the cosine, as a part of the first")
    clip: Positive = Field(1.0, description="largest norm of a gradient")
    judge_every: Count = Field(500, description="steps from one judgement and checkpoint to the next")
    judged_batches: Count = Field(40, description="simulated batches that train nothing and measure the error")
    calibration_batches: AtLeastTwo = Field(120, description="batches that neither train nor judge; for the bands")
