"""Consoles, tables and JSON on terminals and elsewhere."""

import io
import sys

import pytest

from infertune.cli.output import bytes_text, print_json, stderr_console, stdout_console, table

ROWS = [("openvino", "12", "812 (790 to 830)", "[bold]x[/bold] :smile:"), ("onnxruntime", "1234", "92.1", "-")]
COLUMNS = ("target", "n", "per second", "note")
ESCAPE = "\x1b"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    stdout_console().print(table(COLUMNS, ROWS))
    return stream.getvalue()


@pytest.mark.usefixtures("plain_environment")
def test_a_table_is_aligned_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.rstrip() for line in shown(io.StringIO(), monkeypatch).splitlines()]
    assert lines == [
        "target          n        per second  note",
        "openvino       12  812 (790 to 830)  [bold]x[/bold] :smile:",
        "onnxruntime  1234              92.1  -",
    ]


@pytest.mark.usefixtures("plain_environment")
def test_a_row_is_one_line_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console = stdout_console()
    console.print(table(("a", "b"), [("x" * 300, "y " * 100)]))
    assert len(console.file.getvalue().splitlines()) == 2  # type: ignore[attr-defined]


@pytest.mark.usefixtures("plain_environment")
def test_colour_only_where_it_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ESCAPE in shown(Terminal(), monkeypatch)
    assert ESCAPE not in shown(io.StringIO(), monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    assert ESCAPE not in shown(Terminal(), monkeypatch)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESCAPE not in shown(Terminal(), monkeypatch)


def test_the_two_consoles_write_to_their_streams(capsys: pytest.CaptureFixture[str]) -> None:
    stdout_console().print("data")
    stderr_console().print("progress")
    assert capsys.readouterr() == ("data\n", "progress\n")


def test_json_is_one_document_and_never_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "µ", "values": [1, None]})
    assert capsys.readouterr().out == '{\n  "name": "µ",\n  "values": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        print_json(float("nan"))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1.0 KiB"),
        (5 << 20, "5.0 MiB"),
        (430_000_000, "410 MiB"),
        (3 << 50, "3072 TiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.usefixtures("plain_environment")
def test_no_short_word_is_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console = stdout_console()
    names = ("target", "device", "what", "units", "memory", "precisions", "health")
    row = ("onnxruntime", "cpu", "Intel(R) Xeon(R) Processor @ 2.80GHz", "2", "24 GiB", "f32, int8", "ready")
    console.print(table(names, [row]))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert set(" ".join(row).split()) | set(names) <= set(told.split())
    assert max(map(len, told.splitlines())) <= 80
