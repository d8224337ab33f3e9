"""From raw files to a panel: validate, repair by stated rules, quarantine the rest, account for every row.

config = load_dataset_config("configs/datasets/store_sales.yaml")
result = ingest(config, "raw/", Path("panel/"))
panel = read_panel(Path("panel/"))
"""

from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.ingest.arrived import require_files
from storecast.ingest.quality import DataQualityReport
from storecast.ingest.run import IngestResult, about_rows, ingest
from storecast.panel_io import read_panel, write_panel

__all__ = [
    "DataQualityReport",
    "DatasetConfig",
    "IngestResult",
    "about_rows",
    "ingest",
    "load_dataset_config",
    "read_panel",
    "require_files",
    "write_panel",
]
