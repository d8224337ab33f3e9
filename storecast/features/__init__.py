"""Features of each series at each cutoff, for each day ahead; nothing after the cutoff is seen.

table = build(panel, training_cutoffs(panel), observed_only=True)      rows to learn from
table = build(panel, [panel.cutoff])                                   rows to forecast
write(folder, panel, cutoffs); table = read(folder, panel, cutoffs)    the same, through a file
Prepared(panel, categories, pairs).rows(panel, rows)                        "what if", asked often
names, array = known_future(panel)                                     what is known of every day in advance
Lags(panel, categories).features(positions)                             one date after the other
x, mean, slope = recent_slopes(panel)                                  what promotions have lately done
"""

from storecast.features.files import load_or_build, read, stored_cutoffs, write
from storecast.features.known import known_future
from storecast.features.lags import Lags
from storecast.features.past import recent_slopes
from storecast.features.prepared import Prepared
from storecast.features.sample import Sample
from storecast.features.table import FeatureTable, build, categories_of, pairs_in, training_cutoffs

__all__ = [
    "FeatureTable",
    "Lags",
    "Prepared",
    "Sample",
    "build",
    "categories_of",
    "known_future",
    "load_or_build",
    "pairs_in",
    "read",
    "recent_slopes",
    "stored_cutoffs",
    "training_cutoffs",
    "write",
]
