"""The report of a training run: pictures as PNG and one self-contained HTML page.

    from storecast.report import ReportInputs, write_report

inputs.py       what a report is made of
figures.py      the pictures of scores: models, horizon days, groups, coverage, weights
forecasts.py    the picture of forecasts beside what happened
style.py        colours, fonts, and how a picture is written to the same bytes every time
page.py         the HTML page (template: page.html.j2)
"""

from storecast.report.inputs import ReportInputs
from storecast.report.page import write_report

__all__ = ["ReportInputs", "write_report"]
