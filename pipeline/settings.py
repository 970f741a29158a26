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
from search_space.published import PUBLISHED
from search_space.relaxation import OperationWeights, Relaxation
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


OperationName = Literal["none", *OPERATION_NAMES]  # type: ignore[valid-type]
EdgeOperations = tuple[tuple[OperationName, ...], ...]


class SpaceSettings(Settings):
    """The cells that a search chooses from."""

    family: Literal["darts", "nasbench201"] = Field(
        "darts", description="darts: two kinds of cells, two edges a node; nasbench201: one, of all edges"
    )
    nodes: PositiveInt = Field(4, description="intermediate nodes of a cell")
    operations: tuple[OperationName, ...] = Field(DARTS_OPERATIONS, description="what an edge may hold")
    normal: EdgeOperations | None = Field(
        None, description="what each edge of the normal cell may hold, node by node; null for all operations"
    )
    reduction: EdgeOperations | None = Field(None, description="the same of the reduction cell")

    @model_validator(mode="after")
    def _a_space_can_be_built(self) -> Self:
        self.build()
        return self

    def build(self) -> SearchSpace:
        """The search space of these settings."""
        return SearchSpace(self.nodes, self.operations, self.normal, self.reduction, self.family)


ObjectiveName = Literal["accuracy", "robustness", "parameters", "macs"]


class BalanceSettings(Settings):
    """From one gradient per objective to one direction (mgda)."""

    name: Literal["mgda", "weighted_sum", "upgrad", "cagrad", "nash_mtl", "pcgrad"] = Field(
        "mgda", description="what makes one direction of the gradients; the last four by the library torchjd"
    )
    normalisation: Literal["none", "l2"] = Field("l2", description="scale of the gradients before; l2 is length 1")
    cagrad_c: BelowOne = Field(0.5, description="cagrad: radius around the mean gradient, relative to its length")
    nash_mtl_max_norm: Positive = Field(1.0, description="nash_mtl: longest direction")


class PreferenceSettings(Settings):
    """How much each objective counts beside the others."""

    accuracy: Positive = Field(1.0, description="mgda: ratio in which objectives fall; weighted_sum, upgrad: weight")
    robustness: Positive = Field(1.0, description="as preferences.accuracy")
    parameters: Positive = Field(1.0, description="as preferences.accuracy, while the bound is broken")
    macs: Positive = Field(1.0, description="as preferences.accuracy, while the bound is broken")


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
    balance: BalanceSettings = BalanceSettings()
    preferences: PreferenceSettings = PreferenceSettings()

    def preferred(self) -> dict[str, float]:
        """The preferences that differ from 1, by objective."""
        preferences: dict[str, float] = self.preferences.model_dump()
        return {name: value for name, value in preferences.items() if value != 1}

    @model_validator(mode="after")
    def _preferences_are_of_objectives_and_count(self) -> Self:
        preferred = self.preferred()
        for name in preferred.keys() - set(self.names):
            raise ValueError(f"objectives.preferences.{name} is given but {name} is not among objectives.names")
        if preferred and self.balance.name not in ("mgda", "weighted_sum", "upgrad"):
            raise ValueError(
                f"balance={self.balance.name} knows no objectives.preferences; use mgda, weighted_sum or upgrad"
            )
        return self

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


class SearchAttackSettings(AttackSettings):
    """The attack inside the search."""

    carry_over: bool = Field(
        False, description="pgd: start where the image's attack of the epoch before ended (Zheng et al. 2020)"
    )
    reset_every: PositiveInt | None = Field(
        10, description="carry_over: epochs from one random start to the next; null for the first epoch alone"
    )

    @model_validator(mode="after")
    def _what_is_carried_over_is_of_pgd(self) -> Self:
        if self.carry_over and self.name != "pgd":
            raise ValueError(
                f"attack.carry_over goes on with steps of pgd, not of {self.name}; use attack.name=pgd attack.steps=1"
            )
        return self


class WeightOptimizerSettings(Settings):
    """What trains weights, of the supernet and of derived networks."""

    name: Literal["sgd", "adamw"] = Field("sgd", description="sgd or adamw")
    learning_rate: Positive = Field(0.025, description="at the start; a cosine lowers it over the epochs")
    momentum: UpToOne = Field(0.9, description="of sgd")
    betas: tuple[BelowOne, BelowOne] = Field((0.9, 0.999), description="of adamw")
    weight_decay: NotNegative = Field(3e-4, description="of all weights")
    clip: Positive | None = Field(5.0, description="largest norm of the gradient; null for no clipping")


class RelaxationSettings(Settings):
    """How alphas become the weights of a mixture, and what may be random in it."""

    operations: OperationWeights = Field(
        "softmax", description="weights of an edge's operations: softmax (DARTS), sigmoid (FairDARTS), gumbel (GDAS)"
    )
    normalised_edges: bool = Field(
        False, description="weights of a node's edges too: softmax of an alpha an edge (PC-DARTS)"
    )
    zero_one: NotNegative = Field(0.0, description="sigmoid: weight of FairDARTS's zero-one loss; 10 as published")
    auxiliary_skip: NotNegative = Field(
        0.0, description="added to skip_connect, falling to 0 over the search; 1 as published (DARTS-)"
    )
    dropout: BelowOne = Field(0.0, description="probability that an operation of an edge is left out of a step")
    sampled_operations: PositiveInt | None = Field(
        None, description="operations of an edge that take part in a step, at least 2; null for all"
    )
    sampled_edges: PositiveInt | None = Field(
        None, description="edges of a node that take part in a step; null for all"
    )
    temperature: tuple[Positive, Positive] = Field(
        (10.0, 0.1), description="gumbel: at the start and the end of the search, in a line between"
    )

    @model_validator(mode="after")
    def _a_relaxation_can_be_built(self) -> Self:
        self.build()
        return self

    def build(self) -> Relaxation:
        """The relaxation of these settings."""
        return Relaxation(**dict(self))


class DiagnosticsSettings(Settings):
    """The largest eigenvalue of the validation loss's Hessian in alpha, measured once an epoch."""

    iterations: NonNegativeInt = Field(0, description="products of the power iteration at most; 0 measures none")
    images: PositiveInt = Field(64, description="images of the loss, of those that train alphas")


class GuardSettings(Settings):
    """What is done when the search collapses."""

    action: Literal["none", "stop", "rollback"] = Field(
        "none", description="stop: end with earlier alphas; rollback: go on from them with more weight decay"
    )
    rule: Literal["eigenvalue", "skips"] = Field(
        "eigenvalue", description="its rise over `window` epochs (RobustDARTS), or skips of the normal cell (DARTS+)"
    )
    window: PositiveInt = Field(5, description="eigenvalue: epochs of the mean, and from one mean to the other")
    ratio: Split = Field(0.75, description="eigenvalue: collapsed when the earlier mean is below this part of it")
    most_skips: NonNegativeInt = Field(2, description="skips: collapsed when the normal cell has more")
    decay_factor: Annotated[Number, Field(ge=1)] = Field(
        10.0, description="rollback: the weight decay of weights is multiplied by it each time (DARTS-ADA)"
    )


class ImplicitSettings(Settings):
    """The linear system behind an implicit gradient of alpha: (Hessian + weight decay + damping) x = v."""

    iterations: PositiveInt = Field(5, description="Hessian-vector products for each of accuracy and robustness")
    damping: NotNegative = Field(10.0, description="added to the Hessian in the weights, to make it positive definite")
    step: Positive | None = Field(None, description="neumann: step size; null is the learning rate of the weights")


class SearchSettings(Settings):
    """The bi-level search."""

    channels: Channels = Field(16, description="of the supernet's first cell")
    layers: Layers = Field(8, description="cells of the supernet")
    derived_channels: Channels = Field(36, description="of the network to be derived, whose size is bounded")
    derived_layers: Layers = Field(20, description="cells of the network to be derived")
    epochs: PositiveInt = Field(50, description="passes over the images that train weights")
    batch_size: PositiveInt = Field(64, description="images of a step, over all processes")
    order: Literal["first", "unrolled", "neumann", "cg"] = Field(
        "first", description="gradient of alpha: weights fixed, after one step (DARTS), or at a minimum (implicit)"
    )
    hessian: Literal["exact", "finite_difference"] = Field("exact", description="Hessian-vector product; not of first")
    implicit: ImplicitSettings = ImplicitSettings()
    adversarial_fraction: UpToOne = Field(1.0, description="weight of attacked images in the training loss of weights")
    alpha_split: Split = Field(
        0.5, description="part of the training set that trains alphas; weights train on the rest"
    )
    final_rate: UpToOne = Field(0.04, description="learning rate at the end of the cosine, as a part of the first")
    alpha_learning_rate: Positive = Field(3e-4, description="of Adam on the alphas")
    alpha_betas: tuple[BelowOne, BelowOne] = Field((0.5, 0.999), description="of Adam on the alphas")
    alpha_weight_decay: NotNegative = Field(1e-3, description="of Adam on the alphas")
    partial_channels: PositiveInt = Field(
        1, description="1 / this part of the channels goes through the operations (PC-DARTS); must divide channels"
    )
    recompute: bool = Field(False, description="compute each cell again in the backward pass: less memory, more time")
    relaxation: RelaxationSettings = RelaxationSettings()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    guard: GuardSettings = GuardSettings()

    @model_validator(mode="after")
    def _channels_have_parts(self) -> Self:
        if self.channels % self.partial_channels:
            raise ValueError(
                f"search.partial_channels={self.partial_channels} does not divide search.channels={self.channels}"
            )
        relaxation = self.relaxation
        if self.partial_channels > 1 and (
            relaxation.operations == "sigmoid" or relaxation.auxiliary_skip or relaxation.dropout
        ):
            raise ValueError(
                "search.partial_channels weighs what passes an edge by the sum of its operations' weights, which "
                "sigmoids, an auxiliary skip and dropout change; use another relaxation"
            )
        return self

    @model_validator(mode="after")
    def _recomputation_saves_memory(self) -> Self:
        if self.recompute and self.order != "first" and self.hessian == "exact":
            raise ValueError(
                "search.recompute saves nothing beside exact second derivatives, which record the whole backward pass; "
                "use search.hessian=finite_difference or search.order=first"
            )
        return self

    @model_validator(mode="after")
    def _a_guard_has_what_it_reads(self) -> Self:
        if self.guard.action != "none" and self.guard.rule == "eigenvalue" and not self.diagnostics.iterations:
            raise ValueError(
                "search.guard.rule=eigenvalue reads the eigenvalue: give search.diagnostics.iterations, such as 20"
            )
        return self


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


class ComparisonSettings(Settings):
    """Searched cells beside random and published ones, retrained by one recipe."""

    searches: PositiveInt = Field(3, description="searches, with seeds that count up from seed")
    random: Annotated[int, Field(ge=2)] = Field(10, description="random cells inside the bounds of the search")
    published: tuple[str, ...] = Field(
        ("DARTS_V2", "PC_DARTS_cifar", "PDARTS", "ADVRUSH", "RACL"),
        description="published cells, with the channels that come nearest to the searched cells' parameters",
    )
    seeds: PositiveInt = Field(3, description="retrainings of searched and published cells, seeds count up from seed")
    random_seeds: PositiveInt = Field(1, description="retrainings of each random cell, seeds count up from seed")
    judged_images: PositiveInt | None = Field(
        256, description="images held back from a supernet's weights on which it judges cells; null for all"
    )
    processes: PositiveInt | None = Field(None, description="retrainings at once; null for one a core")
    results: str = Field("benchmarks/results", min_length=1, description="folder of the table and the pictures")

    @field_validator("published")
    @classmethod
    def _are_known_and_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in PUBLISHED]
        if unknown or len(set(names)) != len(names):
            raise ValueError(f"expected names of published cells, each once: {', '.join(PUBLISHED)}")
        return names


class ParetoSettings(Settings):
    """A walk along the Pareto front, from one trained supernet."""

    walk: Literal["parameters", "macs", "preferences"] = Field(
        "parameters", description="what differs from point to point: bounds of one size, or preferences"
    )
    points: Annotated[int, Field(ge=2)] = Field(6, description="number of points; not used where they are listed")
    bounds: Annotated[tuple[Range, ...], Field(min_length=1)] | None = Field(
        None, description="parameters, macs: [lower, upper] of each point; null shares out what can be reached"
    )
    preferences: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1)] | None = Field(
        None,
        description="preferences: of each point, in the order of objectives.names; null for accuracy to robustness "
        "from 10:1 to 1:10",
    )
    epochs: PositiveInt = Field(5, description="of the alphas to each point, from where the search ended")
    weights: Literal["frozen", "trained"] = Field(
        "frozen", description="what the supernet's weights do meanwhile; trained: as in the search"
    )
    alpha_learning_rate: Positive | None = Field(None, description="null is search.alpha_learning_rate")
    adapt_epochs: NonNegativeInt = Field(
        2, description="of the supernet's weights in a point's cell alone, before it is judged there"
    )
    held_back: Split = Field(0.5, description="part of the images of the alphas that judges points and trains none")
    attack: AttackSettings = Field(AttackSettings(steps=10), description="under which the supernet judges a point")
    published: tuple[str, ...] = Field((), description="published cells that are judged beside the points")
    retrain: bool = Field(False, description="also retrain and evaluate every point, and let that judge it")

    @model_validator(mode="after")
    def _what_is_listed_is_walked(self) -> Self:
        if self.bounds is not None and self.walk == "preferences":
            raise ValueError("pareto.bounds are of pareto.walk=parameters or macs; walk=preferences has none")
        if self.preferences is not None and self.walk != "preferences":
            raise ValueError(f"pareto.preferences are of pareto.walk=preferences; walk={self.walk} has none")
        unknown = [name for name in self.published if name not in PUBLISHED]
        if unknown or len(set(self.published)) != len(self.published):
            raise ValueError(f"pareto.published: expected published cells, each once: {', '.join(PUBLISHED)}")
        return self


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
        None, description="retrain, export: published name, NAS-Bench-201 string, file or run folder; null: of the run"
    )
    compare: tuple[str, ...] = Field((), description="report: other run folders to set beside this one")
    seed: NonNegativeInt = Field(0, description="of all randomness")
    data: DataSettings = DataSettings()
    space: SpaceSettings = SpaceSettings()
    objectives: ObjectiveSettings = ObjectiveSettings()
    attack: SearchAttackSettings = SearchAttackSettings()
    weight_optimizer: WeightOptimizerSettings = WeightOptimizerSettings()
    search: SearchSettings = SearchSettings()
    retrain: RetrainSettings = RetrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    export: ExportSettings = ExportSettings()
    comparison: ComparisonSettings = ComparisonSettings()
    pareto: ParetoSettings = ParetoSettings()
    fabric: FabricSettings = FabricSettings()

    @model_validator(mode="after")
    def _processes_share_batches(self) -> Self:
        for name, size in (("search", self.search.batch_size), ("retrain", self.retrain.batch_size)):
            if size % self.fabric.devices:  # gradients are means over processes: their shares must be equal
                raise ValueError(f"{name}.batch_size={size} cannot be shared evenly by {self.fabric.devices} processes")
        return self

    @model_validator(mode="after")
    def _partial_channels_have_two_inputs(self) -> Self:
        if self.search.partial_channels > 1 and self.space.build().inputs == 1:
            raise ValueError("search.partial_channels is for the DARTS family of cells; this space has one input")
        return self

    @model_validator(mode="after")
    def _a_step_can_be_unrolled(self) -> Self:
        if self.search.order == "unrolled" and self.weight_optimizer.name != "sgd":
            raise ValueError(
                "search.order=unrolled looks through a step of sgd; use weight_optimizer=sgd or order=first"
            )
        return self

    @model_validator(mode="after")
    def _what_is_differenced_does_not_change(self) -> Self:
        search = self.search
        if search.order != "first" and search.hessian == "finite_difference" and "noise" in self.space.operations:
            raise ValueError(
                "search.hessian=finite_difference subtracts gradients under two draws of the operation noise; use exact"
            )
        return self

    @model_validator(mode="after")
    def _weights_have_a_minimum_to_stay_at(self) -> Self:
        order, optimizer = self.search.order, self.weight_optimizer
        if order in ("neumann", "cg") and optimizer.name == "adamw" and optimizer.weight_decay > 0:
            raise ValueError(
                f"search.order={order} needs weight decay that is part of the loss; that of adamw is not: use "
                "weight_optimizer.weight_decay=0, weight_optimizer=sgd or order=first"
            )
        if order != "neumann" and self.search.implicit.step is not None:
            raise ValueError(f"search.implicit.step is that of order=neumann; order={order} has none")
        return self
