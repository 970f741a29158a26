"""Every setting of every stage: its type, its range, its default and what it means.

The models are immutable and refuse unknown keys. A number may be written as a fraction, such as "8/255".
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from search_space.genotype import OPERATION_NAMES
from search_space.skeleton import MINIMUM_LAYERS
from search_space.space import DARTS_OPERATIONS, SearchSpace

LARGEST = 4096  # channels or layers that a network.json may ask for


def _from_fraction(value: Any) -> Any:
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"expected a number or a fraction such as 8/255, found {value!r}") from None
    return value


Number = Annotated[float, BeforeValidator(_from_fraction)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Epsilon = Annotated[Number, Field(gt=0, le=1)]
"""A radius or step in units of the images' range [0, 1]."""

UpToOne = Annotated[Number, Field(ge=0, le=1)]
BelowOne = Annotated[Number, Field(ge=0, lt=1)]
Split = Annotated[Number, Field(gt=0, lt=1)]
Layers = Annotated[int, Field(ge=MINIMUM_LAYERS, le=LARGEST)]
Channels = Annotated[int, Field(ge=1, le=LARGEST)]
Range = tuple[Positive | None, Positive | None]


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Settings):
    """Which images, and how they are augmented in training."""

    name: str | None = Field(None, description="of the set, in results; null is the last part of the path")
    source: Literal["digits", "huggingface"] = Field(
        "digits", description="digits of scikit-learn, or a Hugging Face set"
    )
    path: str | None = Field(None, description="huggingface: a local folder or the name of a set on the hub")
    configuration: str | None = Field(None, description="huggingface: the set's configuration, where it has several")
    train_split: str = Field("train", description="huggingface: the split to train on")
    test_split: str = Field("test", description="huggingface: the split that evaluation alone reads")
    image_column: str | None = Field(None, description="huggingface: null takes the only image column")
    label_column: str | None = Field(None, description="huggingface: null takes the only class label column")
    limit: PositiveInt | None = Field(None, description="train on a subset of this many images, balanced over classes")
    test_limit: PositiveInt | None = Field(None, description="keep this many test images, balanced over classes")
    crop_padding: NonNegativeInt = Field(0, description="augmentation: random crop after padding by this many pixels")
    flip: bool = Field(False, description="augmentation: mirror half of the images")
    cutout: NonNegativeInt = Field(0, description="augmentation: grey square of this many pixels a side; 0 for none")

    @model_validator(mode="after")
    def _path_belongs_to_huggingface(self) -> Self:
        if (self.source == "huggingface") != (self.path is not None):
            raise ValueError("data.path names a folder or hub set and goes with data=huggingface, and only with it")
        if self.train_split == self.test_split:
            raise ValueError(
                f"data.train_split and data.test_split are both {self.test_split}: nothing would be held out"
            )
        return self


class SpaceSettings(Settings):
    """The cells that a search chooses from."""

    nodes: PositiveInt = Field(4, description="intermediate nodes of a cell")
    operations: tuple[Literal["none", *OPERATION_NAMES], ...] = Field(  # type: ignore[valid-type]
        DARTS_OPERATIONS, description="what an edge may hold"
    )

    @model_validator(mode="after")
    def _a_space_can_be_built(self) -> Self:
        self.build()
        return self

    def build(self) -> SearchSpace:
        """The search space of these settings."""
        return SearchSpace(self.nodes, self.operations)


ObjectiveName = Literal["accuracy", "robustness", "parameters", "macs"]


class ObjectiveSettings(Settings):
    """What the alphas are trained for, and how the objectives are balanced."""

    names: tuple[ObjectiveName, ...] = Field(
        ("accuracy", "robustness"), description="accuracy, robustness, and parameters and macs where they are bounded"
    )
    parameters: Range = Field(
        (None, None), description="[lower, upper] of the derived network; null leaves a side open"
    )
    macs: Range = Field((None, None), description="[lower, upper] MACs of the derived network for one image")
    macs_convention: Literal["conv_linear_macs", "thop_macs"] = Field(
        "conv_linear_macs", description="convolutions and classifier alone, or thop's count with batch norm and pooling"
    )
    normalisation: Literal["none", "l2"] = Field("l2", description="scale of the gradients that MGDA balances")

    @model_validator(mode="after")
    def _bounds_and_names_agree(self) -> Self:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError("objectives.names holds at least one objective, each once")
        if not {"accuracy", "robustness"} & set(self.names):
            raise ValueError("objectives.names needs accuracy or robustness; bounds alone do not train an architecture")
        for name in ("parameters", "macs"):
            lower, upper = getattr(self, name)
            if name in self.names and lower is None and upper is None:
                raise ValueError(f"objectives.names has {name}: give objectives.{name}=[lower, upper], one may be null")
            if name not in self.names and (lower, upper) != (None, None):
                raise ValueError(f"objectives.{name} is bounded but {name} is not among objectives.names")
            if lower is not None and upper is not None and lower > upper:
                raise ValueError(f"objectives.{name}: lower bound {lower:,.0f} is above upper bound {upper:,.0f}")
        return self


class AttackSettings(Settings):
    """An attack inside search or retraining, Linf, through torchattacks."""

    name: Literal["pgd", "fgsm", "fgsm_rs"] = Field("pgd", description="pgd, fgsm, or fgsm with a random start")
    eps: Epsilon = Field(8 / 255, description="largest change of a pixel; images are in [0, 1]")
    step: Epsilon | None = Field(None, description="change of a pixel in one step of pgd; null is eps / 4")
    steps: PositiveInt = Field(7, description="number of steps of pgd")
    statistics: Literal["running", "batch"] = Field("running", description="what BatchNorm uses while attacked")

    @model_validator(mode="after")
    def _a_step_stays_in_the_ball(self) -> Self:
        if self.step is not None and self.step > self.eps:
            raise ValueError(f"a step of {self.step:.4g} leaves the ball of eps={self.eps:.4g}; null is eps / 4")
        return self


class WeightOptimizerSettings(Settings):
    """What trains weights, of the supernet and of derived networks."""

    name: Literal["sgd", "adamw"] = Field("sgd", description="sgd or adamw")
    learning_rate: Positive = Field(0.025, description="at the start; a cosine lowers it over the epochs")
    momentum: UpToOne = Field(0.9, description="of sgd")
    betas: tuple[BelowOne, BelowOne] = Field((0.9, 0.999), description="of adamw")
    weight_decay: NotNegative = Field(3e-4, description="of all weights")
    clip: Positive | None = Field(5.0, description="largest norm of the gradient; null for no clipping")


class SearchSettings(Settings):
    """The bi-level search."""

    channels: Channels = Field(16, description="of the supernet's first cell")
    layers: Layers = Field(8, description="cells of the supernet")
    derived_channels: Channels = Field(36, description="of the network to be derived, whose size is bounded")
    derived_layers: Layers = Field(20, description="cells of the network to be derived")
    epochs: PositiveInt = Field(50, description="passes over the images that train weights")
    batch_size: PositiveInt = Field(64, description="images of a step, over all processes")
    order: Literal["first", "unrolled"] = Field("first", description="of the gradient of alpha (DARTS)")
    hessian: Literal["exact", "finite_difference"] = Field("exact", description="unrolled: Hessian-vector product")
    adversarial_fraction: UpToOne = Field(1.0, description="weight of attacked images in the training loss of weights")
    alpha_split: Split = Field(
        0.5, description="part of the training set that trains alphas; weights train on the rest"
    )
    final_rate: UpToOne = Field(0.04, description="learning rate at the end of the cosine, as a part of the first")
    alpha_learning_rate: Positive = Field(3e-4, description="of Adam on the alphas")
    alpha_betas: tuple[BelowOne, BelowOne] = Field((0.5, 0.999), description="of Adam on the alphas")
    alpha_weight_decay: NotNegative = Field(1e-3, description="of Adam on the alphas")


class RetrainSettings(Settings):
    """Training of a derived or published network from scratch."""

    channels: Channels = Field(36, description="of the network's first cell; not used when parameters is given")
    parameters: PositiveInt | None = Field(None, description="choose the channels for about this many parameters")
    layers: Layers = Field(20, description="cells of the network")
    epochs: PositiveInt = Field(600, description="passes over the training images")
    batch_size: PositiveInt = Field(96, description="images of a step, over all processes")
    final_rate: UpToOne = Field(0.0, description="learning rate at the end of the cosine, as a part of the first")
    auxiliary_weight: NotNegative = Field(0.4, description="weight of the auxiliary head's loss; 0 for no head")
    drop_path: BelowOne = Field(0.2, description="its probability in the last epoch")
    adversarial: bool = Field(True, description="train on attacked images (Madry et al. 2018)")
    attack: AttackSettings = Field(
        AttackSettings(steps=10), description="that of training, and of choosing the checkpoint"
    )
    held_back: Split = Field(0.1, description="part of the training set that chooses the checkpoint")
    select_every: PositiveInt = Field(1, description="epochs from one judgement on the held-back images to the next")


AttackName = Literal["fgsm", "pgd-20", "pgd-100", "apgd-ce", "apgd-t", "cw", "square", "autoattack"]


class EvaluateSettings(Settings):
    """Accuracy under named attacks, on the test images."""

    attacks: tuple[AttackName, ...] = Field(("fgsm", "pgd-20", "autoattack"), description="run one by one")
    eps: Epsilon = Field(8 / 255, description="Linf radius; images are in [0, 1]")
    cw_radius: Positive = Field(0.5, description="L2 radius within which cw counts as a success")

    @field_validator("attacks")
    @classmethod
    def _each_once(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(attacks)) != len(attacks):
            raise ValueError(f"each attack is named once, found {list(attacks)}")
        return attacks

    images: PositiveInt | None = Field(None, description="number of test images, balanced over classes; null for all")
    batch_size: PositiveInt = Field(250, description="images attacked at once")


class ExportSettings(Settings):
    """Forms in which the result leaves."""

    formats: tuple[Literal["darts", "onnx"], ...] = Field(
        ("darts", "onnx"), description="darts: Python text; onnx: network"
    )


class FabricSettings(Settings):
    """Where the work runs (Lightning Fabric)."""

    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where there is one")
    devices: PositiveInt = Field(1, description="processes, one a device")
    strategy: Literal["auto", "ddp"] = Field("auto", description="how processes are started")
    threads: PositiveInt | None = Field(None, description="of each process on the CPU; null leaves it to PyTorch")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="of the arithmetic")


class Experiment(Settings):
    """All that a script is told."""

    run: str = Field("runs/search", min_length=1, description="run folder: every stage reads and writes here")
    genotype: str | None = Field(
        None, description="retrain, export: published name, file or run folder; null: of the run"
    )
    compare: tuple[str, ...] = Field((), description="report: other run folders to set beside this one")
    seed: NonNegativeInt = Field(0, description="of all randomness")
    data: DataSettings = DataSettings()
    space: SpaceSettings = SpaceSettings()
    objectives: ObjectiveSettings = ObjectiveSettings()
    attack: AttackSettings = AttackSettings()
    weight_optimizer: WeightOptimizerSettings = WeightOptimizerSettings()
    search: SearchSettings = SearchSettings()
    retrain: RetrainSettings = RetrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    export: ExportSettings = ExportSettings()
    fabric: FabricSettings = FabricSettings()

    @model_validator(mode="after")
    def _processes_share_batches(self) -> Self:
        for name, size in (("search", self.search.batch_size), ("retrain", self.retrain.batch_size)):
            if size % self.fabric.devices:  # gradients are means over processes: their shares must be equal
                raise ValueError(f"{name}.batch_size={size} cannot be shared evenly by {self.fabric.devices} processes")
        return self

    @model_validator(mode="after")
    def _a_step_can_be_unrolled(self) -> Self:
        if self.search.order == "unrolled" and self.weight_optimizer.name != "sgd":
            raise ValueError(
                "search.order=unrolled looks through a step of sgd; use weight_optimizer=sgd or order=first"
            )
        return self
