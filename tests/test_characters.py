"""Charts in characters: marks where they belong, the more important one on top, nothing where there is nothing."""

from __future__ import annotations

from infertune.core.errors import excerpt
from infertune.report import markdown_text, plain_text
from infertune.report.characters import WIDTH, Mark, plot, search_curve, trade_off
from infertune.report.page.basis import basis
from infertune.testing.records import a_point, a_study
from large_study import a_large_study
from test_report_formats import infeasible, tuned


def test_marks_stand_at_their_scaled_places() -> None:
    marks = [Mark(x=0.0, y=0.0, sign="x"), Mark(x=10.0, y=4.0, sign="W"), Mark(x=5.0, y=2.0, sign="o")]
    title, *rows, axis, ends, below = plot(marks, x_title="s", y_title="samples/s", height=5)
    inside = [row.partition("|")[2] for row in rows]
    assert title == "samples/s" and below.strip() == "s" and axis.endswith("-" * WIDTH)
    assert inside[0].index("W") == WIDTH - 1 and inside[4][0] == "x" and inside[2].index("o") == 30
    assert rows[0].startswith("4.00 |") and rows[4].startswith("   0 |") and ends.split() == ["0", "10.0"]


def test_the_middle_of_a_logarithmic_axis_is_the_geometric_mean() -> None:
    rows = plot([Mark(x=10.0, y=1.0, sign="o")], x_title="", y_title="", logarithmic=(1.0, 100.0), height=2)
    assert rows[1].partition("|")[2].index("o") == 30


def test_the_winner_covers_what_lies_beneath_it() -> None:
    marks = [Mark(x=1.0, y=1.0, sign=sign) for sign in ("W", "\u00b7", "o")]
    assert "W" in plot(marks, x_title="", y_title="")[1]


def test_the_text_report_has_both_charts_and_markdown_none() -> None:
    text = plain_text(a_large_study(100))
    assert "Throughput against latency\n" in text and "Best so far\n" in text
    assert "W winner, o baseline" in text and "K knee" in text and "+ Pareto front" in text
    assert max(map(len, text.partition("Where the time went")[0].partition("Throughput against")[2].splitlines())) < 80
    assert "Best so far" not in markdown_text(a_large_study(100))


def test_nothing_is_drawn_of_too_little() -> None:
    assert search_curve(basis(infeasible())) == ()
    assert trade_off(basis(a_study({a_point(batch=8): 100.0}, baselines={}))) == ()
    assert len(trade_off(basis(tuned()))) > 5


def test_a_tools_message_is_cut_in_the_middle() -> None:
    message = "[Error] : 10 :\n" + "somewhere in the source " * 20 + "\tNo opset import for domain 'com.acme'"
    told = excerpt(message, 160)
    assert len(told) <= 160 and told.startswith("[Error] : 10 : somewhere") and " ... " in told
    assert told.endswith("No opset import for domain 'com.acme'")
    assert excerpt("short\nand\u202e whole", 160) == "short and\\u202e whole"
