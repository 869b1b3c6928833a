"""Images: data sets by name, their cache, and the split that keeps the test part out of reach."""

from lambda_rl.envs.data import rules, sources, tables  # fill the registries
from lambda_rl.envs.data.sets import (
    DATA_SETS,
    DataSet,
    Dimensions,
    ImageData,
    Images,
    Places,
    by_name,
    data_forms,
    data_set,
    is_generated,
    load_parts,
    load_test,
    load_train,
)

__all__ = [
    "DATA_SETS",
    "DataSet",
    "Dimensions",
    "ImageData",
    "Images",
    "Places",
    "by_name",
    "data_forms",
    "data_set",
    "is_generated",
    "load_parts",
    "load_test",
    "load_train",
    "rules",
    "sources",
    "tables",
]
