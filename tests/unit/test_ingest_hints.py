from __future__ import annotations

import pytest

from storecast.ingest.hints import hints


def told(reason: str, *cells: str) -> list[str]:
    return hints([f"column {reason}"], lambda _: cells)


@pytest.mark.parametrize(
    ("cell", "formats"),
    [
        ("15/02/2024", "'%d/%m/%Y'"),
        ("01/02/2024", "'%d/%m/%Y' or '%m/%d/%Y'"),
        ("2024-02-15 00:00:00", "'%Y-%m-%d %H:%M:%S'"),
        ("20240215", "'%Y%m%d'"),
        ("2024-02", "'%Y-%m'"),
        ("202402", "'%Y%m'"),
        ("15 février", "..."),
    ],
)
def test_dates_in_another_form_are_told_with_the_forms_they_may_have(cell: str, formats: str) -> None:
    assert told("is not a date", cell) == [f"set `csv: {{date_format: {formats}}}`"]


def test_a_decimal_comma_is_proposed_where_a_cell_has_one() -> None:
    assert told("is not a number", "10,5") == [
        "set `csv: {decimal: ','}` if the numbers have a decimal comma"
    ]
    assert told("is not a number", "lots") == []
    assert told("is not a number", "1,234.50") == []


def test_what_the_config_cannot_mend_gets_no_hint() -> None:
    assert told("is empty") == []
    assert told("is not a date", "9999-12-31") == []
