"""Settings that do not fit the images or the machine: (script, overrides, what the line says)."""

UNFIT = [
    (
        "search",
        "objectives.parameters=[1,2]",
        "no cell of this space meets objectives.parameters=[1, 2] ... reachable, each alone",
    ),
    (
        "search",
        "objectives.macs=[1e9,null]",
        "no cell of this space meets ... objectives.macs=[1,000,000,000, null] ... reachable",
    ),
    (
        "search",
        "search.batch_size=60",
        "search.batch_size=60 is larger than a part of the training set (40 images for weights, 40",
    ),
    (
        "search",
        "search.alpha_split=0.1",
        "search.batch_size=20 is larger than a part of the training set (70 images for weights, 10",
    ),
    ("search", "data.limit=5000", "data.limit=5000 asks for more than the 1437 images there are"),
    ("search", "data.test_limit=5000", "data.test_limit=5000 asks for more than the 360 images there are"),
    ("search", "data.cutout=8", "data.cutout=8 covers images of 8 pixels a side"),
    ("retrain", "genotype=DARTS_V2 data.cutout=9", "data.cutout=9 covers images of 8 pixels a side"),
    (
        "search",
        "fabric.accelerator=cuda fabric.devices=20 retrain.batch_size=20",
        "fabric asks for 20 CUDA devices; this machine has ",
    ),
    (
        "search",
        "search.relaxation.auxiliary_skip=1 space.operations=[sep_conv_3x3,none] objectives.names=[accuracy] "
        "objectives.parameters=[null,null] objectives.macs=[null,null]",
        "auxiliary skip is added to skip_connect, which is not among the space's operations",
    ),
    (
        "retrain",
        "genotype=DARTS_V2 retrain.batch_size=96",
        "retrain.batch_size=96 is larger than the 70 training images",
    ),
    (
        "retrain",
        "genotype=DARTS_V2 retrain.held_back=0.01",
        "retrain.held_back=0.01 splits off none of 80 images ... raise retrain.held_back",
    ),
    (
        "compare",
        "retrain.parameters=3000",
        "a comparison sets retrain.parameters itself, for the published cells; leave it null",
    ),
    (
        "compare",
        "retrain.channels=5",
        "search.derived_channels=4 ... retrain.channels=5 ... a comparison needs them the same",
    ),
    (
        "compare",
        "objectives.parameters=[null,4000]",
        "random cells of the same size need both bounds: objectives.parameters=[",
    ),
    ("compare", "objectives.parameters=[1,2]", "no cell of this space meets objectives.parameters=[1, 2]"),
    ("compare", "retrain.batch_size=96", "retrain.batch_size=96 is larger than the 70 training images"),
    ("compare", "search.batch_size=60", "search.batch_size=60 is larger than a part of the training set"),
    ("compare", "evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images there are"),
    (
        "pareto",
        "pareto.bounds=[[1,2]]",
        "point 000 of the walk: no cell of this space meets objectives.parameters=[1, 2]",
    ),
    (
        "pareto",
        "pareto.bounds=[[5,3]]",
        "point 000 of the walk: objectives.parameters: lower bound 5 is above upper bound 3",
    ),
    (
        "pareto",
        "pareto.walk=preferences pareto.preferences=[[1,2]]",
        "expected numbers for accuracy, robustness, ... found [1",
    ),
    ("pareto", "pareto.walk=preferences objectives.names=[accuracy,parameters,macs]", "objectives.names needs both"),
    (
        "pareto",
        "pareto.published=[NASNet]",
        "pareto.published=NASNet: the genotype is not one of the space: 2 cells of 2 inputs",
    ),
    (
        "pareto",
        "pareto.held_back=0.7",
        "search.batch_size=20 is larger than the ... images that pareto.held_back=0.7 leaves",
    ),
    (
        "pareto",
        "pareto.retrain=true retrain.parameters=3000",
        "pareto.retrain with retrain.parameters gives all points one",
    ),
    ("pareto", "pareto.retrain=true evaluate.attacks=[cw]", "pareto.retrain needs an Linf attack in evaluate.attacks"),
    ("pareto", "pareto.retrain=true evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images"),
    (
        "demo",
        "evaluate.images=null retrain.batch_size=96",
        "retrain.batch_size=96 is larger than the 70 training images",
    ),
    (
        "demo",
        "evaluate.images=null objectives.parameters=[1,2]",
        "no cell of this space meets objectives.parameters=[1, 2]",
    ),
    ("demo", "evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images there are"),
]
