"""A new data set is one class and one registration; tasks name it, beside others in one suite."""

from pathlib import Path

import numpy as np
from whole_way import compared, deploy, loaded, suite_file, trained_and_exported

from lambda_rl.envs.data import DATA_SETS, DataSet, Places
from lambda_rl.envs.data.cache import Part, to_part


class Stripes(DataSet):
    """Grey images of 16 x 16 with stripes in one of three directions."""

    form = "stripes"

    def make(self, part: str, places: Places) -> Part:
        rng = np.random.default_rng(part == "test")
        labels = rng.integers(0, 3, 600)
        rows, columns = np.mgrid[:16, :16]
        waves = np.stack([np.sin(rows), np.sin(columns), np.sin(rows + columns)])[labels]
        images = 128 + 60 * waves + 40 * rng.normal(size=waves.shape)
        return to_part(images.clip(0, 255).astype(np.uint8)[:, None], labels, ("across", "down", "slant"))


def test_a_data_set_goes_the_whole_way(tmp_path: Path) -> None:
    with DATA_SETS.temporarily("stripes", Stripes):
        suite = suite_file(tmp_path, data="stripes", tasks=[{"seed": 0}, {"seed": 5, "data": "synthetic"}])
        path = trained_and_exported(tmp_path, suite)
        deploy(loaded(path))
        comparison = compared(tmp_path, suite, path, families=())
    rows = comparison.results.rows("constant:0.01")
    assert sorted(rows["data"]) == ["stripes", "synthetic"]
    # Guessing among three classes, and among ten.
    assert (rows["test_loss"] - np.log(rows["data"].map({"stripes": 3, "synthetic": 10}))).abs().max() < 0.8
