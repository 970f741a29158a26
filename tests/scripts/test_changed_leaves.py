"""Values of a finished run's files are changed, one at a time: 2,000 of them, 1,900 where tests are slow."""

import pytest

from tests.support.bad_input.changed_leaves import check_changes
from tests.support.runs.finished import finished  # noqa: F401 - a fixture
from tests.support.slowly import slowly


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *slowly(*range(1, 20))])
def test_any_value_of_any_file_may_be_changed_and_every_stage_gives_its_result_or_a_line(finished, seed):  # noqa: F811
    check_changes(finished, seed)
