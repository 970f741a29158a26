import inspect
import re
from functools import cache
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch
from matplotlib.text import Text

from search_space.cells.genotype import OPERATION_NAMES, Cell, Edge
from search_space.drawing import draw
from search_space.drawing.cell_layout import operation_label, plan_cell
from search_space.drawing.draw import draw_cell, save_cell

pytestmark = pytest.mark.usefixtures("drawn")
plan_of = cache(plan_cell)


def parse(nodes, concat):
    """A cell from text: nodes between slashes, edges as operation:source."""
    edges = [[edge.split(":") for edge in node.split()] for node in nodes.split("/")]
    return Cell(tuple(tuple(Edge(name, int(source)) for name, source in node) for node in edges), concat)


PUBLISHED = {
    "DARTS_V2 normal": parse(
        "sep_conv_3x3:0 sep_conv_3x3:1 / sep_conv_3x3:0 sep_conv_3x3:1 / sep_conv_3x3:1 skip_connect:0 /"
        "skip_connect:0 dil_conv_3x3:2",
        (2, 3, 4, 5),
    ),
    "PC-DARTS reduction": parse(
        "sep_conv_5x5:1 max_pool_3x3:0 / sep_conv_5x5:1 sep_conv_5x5:2 / sep_conv_3x3:0 sep_conv_3x3:3 /"
        "sep_conv_3x3:1 sep_conv_3x3:2",
        (2, 3, 4, 5),
    ),
    "P-DARTS normal": parse(
        "skip_connect:0 dil_conv_3x3:1 / skip_connect:0 sep_conv_3x3:1 / sep_conv_3x3:1 sep_conv_3x3:3 /"
        "sep_conv_3x3:0 dil_conv_5x5:4",
        (2, 3, 4, 5),
    ),
    "NASNet normal": parse(  # one node reads the same state twice through the same operation
        "sep_conv_5x5:1 sep_conv_3x3:0 / sep_conv_5x5:0 sep_conv_3x3:0 / avg_pool_3x3:1 skip_connect:0 /"
        "avg_pool_3x3:0 avg_pool_3x3:0 / sep_conv_3x3:1 skip_connect:1",
        (2, 3, 4, 5, 6),
    ),
    "AmoebaNet reduction": parse(
        "avg_pool_3x3:0 sep_conv_3x3:1 / max_pool_3x3:0 sep_conv_7x7:2 / sep_conv_7x7:0 avg_pool_3x3:1 /"
        "max_pool_3x3:0 max_pool_3x3:1 / conv_7x1_1x7:0 sep_conv_3x3:5",
        (3, 4, 6),
    ),
}


def random_cell(nodes, generator):
    edges = [
        tuple(
            Edge(OPERATION_NAMES[generator.integers(len(OPERATION_NAMES))], int(generator.integers(state)))
            for _ in range(generator.integers(1, 5))
        )
        for state in range(2, nodes + 2)
    ]
    concat = generator.permutation(np.arange(2, nodes + 2))[: generator.integers(1, nodes + 1)]
    return Cell(tuple(edges), tuple(int(state) for state in concat))


RANDOM = {
    f"random {nodes} nodes {i}": random_cell(nodes, np.random.default_rng([nodes, i]))
    for nodes in range(1, 9)
    for i in range(2)
}
CELLS = PUBLISHED | RANDOM
each_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())


def boxes_meet(first, second, clearance):
    return (
        abs(first.x - second.x) < (first.width + second.width) / 2 + clearance
        and abs(first.y - second.y) < (first.height + second.height) / 2 + clearance
    )


def points_along(wire):
    """A cubic Bezier curve that leaves and arrives horizontally, half way between its ends."""
    (x0, y0), (x1, y1) = wire.start, wire.end
    t = np.linspace(0, 1, 50)[1:-1]
    control = np.array([[x0, y0], [(x0 + x1) / 2, y0], [(x0 + x1) / 2, y1], [x1, y1]])
    return np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1) @ control


def touches(points, box, clearance=0.0):
    across, down = points[:, 0] - box.x, points[:, 1] - box.y
    if box.is_circle:
        return bool((np.hypot(across, down) < box.width / 2 + clearance).any())
    return bool(((abs(across) < box.width / 2 + clearance) & (abs(down) < box.height / 2 + clearance)).any())


def arriving(plan, x, y):
    return [wire for wire in plan.wires if np.allclose(wire.end, (x, y))]


def leaving(plan, x, y):
    return [wire for wire in plan.wires if np.allclose(wire.start, (x, y))]


def begins_at_its_state(plan, wire):
    """Follow a wire back along its lanes."""
    box = plan.states[wire.state]
    while not np.allclose(wire.start, (box.right, box.y)):
        (wire,) = [before for before in arriving(plan, *wire.start) if before.state == wire.state]
    return True


def crossings(plan):
    pairs = combinations(plan.wires, 2)
    return sum(
        np.isclose(one.start[0], two.start[0]) and (one.start[1] - two.start[1]) * (one.end[1] - two.end[1]) < -1e-9
        for one, two in pairs
    )


@each_cell
def test_no_box_comes_near_another(cell):
    assert not any(boxes_meet(*pair, clearance=0.07) for pair in combinations(plan_of(cell).boxes, 2))


@each_cell
def test_no_wire_passes_through_a_box_or_close_by_one_that_is_not_its_end(cell):
    plan = plan_of(cell)
    for wire in plan.wires:
        ends = np.array([wire.start, wire.end])
        for box in plan.boxes:
            own = touches(ends, box, clearance=1e-6)
            assert not touches(points_along(wire), box, clearance=-1e-6 if own else 0.05)


@each_cell
def test_every_edge_is_one_box_between_its_source_and_its_node(cell):
    plan = plan_of(cell)
    nodes = [state for state, edges in enumerate(cell.nodes, start=2) for _ in edges]
    assert len(plan.operations) == len(cell.edges)
    for edge, state, box in zip(cell.edges, nodes, plan.operations, strict=True):
        assert box.text == operation_label(edge.operation)
        (entering,), (result,) = arriving(plan, box.left, box.y), leaving(plan, box.right, box.y)
        assert (entering.state, result.state) == (edge.source, state)
        assert begins_at_its_state(plan, entering)
        node = plan.states[state]
        assert np.hypot(result.end[0] - node.x, result.end[1] - node.y) == pytest.approx(node.width / 2)


@each_cell
def test_the_output_reads_the_concatenated_states_alone(cell):
    plan = plan_of(cell)
    entering = [wire for wire in plan.wires if wire.end[0] == plan.output.left]
    assert sorted(wire.state for wire in entering) == sorted(cell.concat)
    assert all(begins_at_its_state(plan, wire) for wire in entering)
    assert all(abs(wire.end[1] - plan.output.y) < plan.output.height / 2 for wire in entering)


@each_cell
def test_every_arrow_ends_at_a_box_and_every_other_wire_goes_on(cell):
    plan = plan_of(cell)
    for wire in plan.wires:
        ends_at_box = any(touches(np.array([wire.end]), box, clearance=1e-6) for box in plan.boxes)
        assert ends_at_box == wire.arrow
        assert wire.arrow or leaving(plan, *wire.end)


@each_cell
def test_wires_run_from_left_to_right(cell):
    assert all(wire.start[0] < wire.end[0] for wire in plan_of(cell).wires)


def test_a_cell_has_a_box_for_each_state_named_as_in_the_genotype():
    texts = [box.text for box in plan_of(PUBLISHED["NASNet normal"]).states]
    assert texts == [r"$c_{k\!-\!2}$", r"$c_{k\!-\!1}$", "2", "3", "4", "5", "6"]


def test_a_cell_that_can_be_drawn_without_crossings_is():
    planar = parse("skip_connect:1 / skip_connect:0 / skip_connect:2 / skip_connect:3", (2, 3, 4, 5))
    assert crossings(plan_of(planar)) == 0


@pytest.mark.parametrize(
    ("name", "fewest"),  # found by trying every order of every layer
    [
        ("DARTS_V2 normal", 3),
        ("PC-DARTS reduction", 2),
        ("P-DARTS normal", 3),
        ("NASNet normal", 1),
        ("AmoebaNet reduction", 4),
    ],
)
def test_published_cells_have_the_fewest_crossings(name, fewest):
    assert crossings(plan_of(PUBLISHED[name])) == fewest


def test_labels_are_short_words_and_sizes():
    assert {operation_label(name) for name in OPERATION_NAMES} >= {"skip", "sep conv 3×3", "conv 7×1 1×7"}  # noqa: RUF001
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)*( \d×\d)*", operation_label(name)) for name in OPERATION_NAMES)  # noqa: RUF001


def shapes_and_texts(figure):
    shapes = [artist for artist in figure.artists if isinstance(artist, Ellipse | FancyBboxPatch)]
    return shapes, [artist for artist in figure.artists if isinstance(artist, Text)]


def test_every_label_fits_into_its_box():
    every = Cell(tuple((Edge(name, 0),) for name in OPERATION_NAMES), (2,))
    figure = draw_cell(every)
    renderer = FigureCanvasAgg(figure).get_renderer()
    shapes, texts = shapes_and_texts(figure)
    for shape, text in zip(shapes, texts[: len(shapes)], strict=True):
        around, inside = shape.get_window_extent(renderer), text.get_window_extent(renderer)
        assert around.x0 < inside.x0
        assert inside.x1 < around.x1
        assert around.y0 < inside.y0
        assert inside.y1 < around.y1


def test_a_long_title_widens_the_figure():
    cell = PUBLISHED["NASNet normal"]
    figure = draw_cell(cell, title="a reduction cell\n" * 5)
    title = shapes_and_texts(figure)[1][-1]
    extent = title.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert extent.x0 > 0
    assert extent.x1 < figure.bbox.x1
    assert extent.y1 < figure.bbox.y1
    assert figure.get_size_inches()[0] > draw_cell(cell).get_size_inches()[0]


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_the_same_cell_gives_the_same_bytes_whatever_the_users_settings(tmp_path, suffix, start):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    save_cell(PUBLISHED["DARTS_V2 normal"], first, title="normal")
    with matplotlib.rc_context({"font.family": "serif", "svg.fonttype": "none", "svg.hashsalt": None}):
        save_cell(PUBLISHED["DARTS_V2 normal"], second, title="normal")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(start)
    assert sorted(tmp_path.iterdir()) == [first, second]


@pytest.mark.parametrize("name", ["cell.jpg", "cell", "cell.svg.gz"])
def test_another_suffix_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf"):
        save_cell(PUBLISHED["DARTS_V2 normal"], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_figure_that_fails_leaves_the_old_one_alone(tmp_path, monkeypatch):
    def fail(figure, path, **options):
        path.write(b"half a figure")
        raise OSError("no space left on device")

    path = tmp_path / "cell.svg"
    path.write_text("the old figure")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        save_cell(PUBLISHED["DARTS_V2 normal"], path)
    assert path.read_text() == "the old figure"
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_has_no_global_state_of_pyplot():
    assert "pyplot" not in inspect.getsource(draw)
