"""Reports: pure functions of a study's record. The same record gives the same bytes on every machine."""

from infertune.report.csv_file import csv_text
from infertune.report.markdown import markdown_text
from infertune.report.result import json_rows, json_text, result_text
from infertune.report.text import plain_text, rows_text

__all__ = ["csv_text", "json_rows", "json_text", "markdown_text", "plain_text", "result_text", "rows_text"]
