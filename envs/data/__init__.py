"""Images: data sets by name, their cache, and the split that keeps the test part out of reach."""

from lambda_rl.envs.data import sources  # fills the registry
from lambda_rl.envs.data.sets import (
    DATA_SETS,
    DataSet,
    ImageData,
    Images,
    Places,
    by_name,
    data_forms,
    data_set,
    load_parts,
    load_test,
    load_train,
)

__all__ = [
    "DATA_SETS",
    "DataSet",
    "ImageData",
    "Images",
    "Places",
    "by_name",
    "data_forms",
    "data_set",
    "load_parts",
    "load_test",
    "load_train",
    "sources",
]
