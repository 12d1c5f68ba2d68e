"""Finding a command, and every way in which one ends."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module

import pytest

from infertune import __version__
from infertune.cli import app, endings
from infertune.core import errors

COMMANDS = sorted(app.registered())
OF_TUNE = "`infertune tune --help` shows what it takes"
HEAVY = {"numpy", "scipy", "onnx", "onnxruntime", "openvino", "torch", "rich", "cattrs", "psutil", "pydantic"}


def python(code: str, **extra: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **extra}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Exit code and lines on stderr; nothing may be on stdout."""
    code = endings.exit_code_of(raising(error), show_traceback=False)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.splitlines()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InfertuneError, 1),
        (errors.DriftError, 1),
        (errors.UsageError, 2),
        (errors.DataError, 65),
        (errors.NotFoundError, 66),
        (errors.NothingFeasible, 69),
        (errors.CreateError, 73),
        (errors.StorageError, 74),
        (errors.BusyError, 75),
    ],
)
def test_an_error_is_two_lines_and_an_exit_code(
    kind: type[errors.InfertuneError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("some-id", "`m.onnx` is empty", hint="export it again")
    assert ended(error, capsys) == (code, ["error[some-id]: `m.onnx` is empty", "hint: export it again"])


def test_outside_text_cannot_add_lines_or_colours(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.DataError("x", "bad\nname \x1b[31mred\u202e", hint="a\r\nb")
    assert ended(error, capsys) == (65, ["error[x]: bad name \\x1b[31mred\\u202e", "hint: a b"])


def test_a_bug_is_an_internal_error_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = ended(ZeroDivisionError("division by zero"), capsys)
    assert code == 1
    assert lines[0] == "error[internal]: ZeroDivisionError: division by zero"
    assert lines[1].startswith("hint: ")
    assert "--debug" in lines[1]
    assert len(lines) == 2


def test_debug_shows_the_traceback_before_the_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert endings.exit_code_of(raising(KeyError("k")), show_traceback=True) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-2] == "error[internal]: KeyError: 'k'"


def test_ctrl_c_ends_with_130_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(KeyboardInterrupt(), capsys) == (130, [])


@pytest.mark.parametrize("where", ["tune --gaol x m.onnx", "--gaol tune m.onnx"])
def test_debug_is_taken_anywhere(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([*where.split(), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("tnue m.onnx", "`tnue` is not a command", "did you mean `tune`? `infertune --help` lists the commands"),
        ("qqq", "`qqq` is not a command", "`infertune --help` lists the commands"),
        (
            "--verison",
            "`--verison` is not an option",
            "did you mean `--version`? `infertune --help`",
        ),
        (
            "tune m.onnx --gaol x",
            "`--gaol` is not an option",
            f"did you mean `--goal`? {OF_TUNE}",
        ),
        ("tune m.onnx -z", "`-z` is not an option", OF_TUNE),
        ("tune", "missing argument 'model'", OF_TUNE),
        ("tune m.onnx --trials many", "invalid value for '--trials'", OF_TUNE),
        ("tune m.onnx --goal", "option '--goal' requires an argument", OF_TUNE),
        ("tune m.onnx n.onnx", "got unexpected extra argument", OF_TUNE),
    ],
)
def test_misuse_names_the_nearest_word(line: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(line.split()) == 2
    out, err = capsys.readouterr()
    said, next_step = err.splitlines()
    assert out == ""
    assert said.startswith(f"error[usage]: {message}")
    assert next_step.startswith(f"hint: {hint}")


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "infertune", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"infertune {__version__}\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"infertune {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_every_command_with_its_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, spec in app.registered().items():
        assert f"{name} {app.help_line(spec)}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    spec = app.registered()[name]
    assert shown.startswith(f"Usage: infertune {name} ")
    assert app.help_line(spec).endswith(".")
    assert app.help_line(spec) in shown


@pytest.mark.parametrize("name", ["tune", "space", "serve-rate", "report", "compare", "export", "cache", "replay"])
def test_help_names_what_an_option_takes_and_no_type_of_python(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    app.main([name, "--help"])
    shown = capsys.readouterr().out
    assert [spelt for spelt in ("<str>", "<list[str]", "<int", "<float") if spelt in shown] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_argument_of_a_command_has_help(name: str) -> None:
    command = import_module(app.registered()[name].name).command
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        assert parameter.annotation.__metadata__[0].help, parameter.name


def test_help_loads_nothing_that_is_slow_to_load() -> None:
    code = "import sys; from infertune.cli.app import main; main(['--help']); print(*sys.modules)"
    assert HEAVY.isdisjoint(python(code).stdout.splitlines()[-1].split())


def test_a_reader_that_went_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "infertune.cli.app", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("work", ["print('x')", "print('x' * 99999)", "(print('x'), exec('raise typer.Exit(1)'))"])
def test_a_full_disk_behind_stdout_is_told_as_one(work: str) -> None:
    ended = f"sys.exit(exit_code_of(lambda: {work}, show_traceback=False))"
    code = f"import sys, typer; from infertune.cli.endings import exit_code_of; {ended}"
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 74
    told = "error[disk-full]: the output cannot be written: No space left on device"
    assert done.stderr.splitlines() == [told, "hint: free some space and run the same command again"]


def test_a_character_that_stdout_cannot_show_is_escaped() -> None:
    code = "from infertune.cli.endings import exit_code_of as e; e(lambda: print('5 \\xb5s'), show_traceback=False)"
    assert python(code, PYTHONIOENCODING="ascii").stdout == "5 \\xb5s\n"


def test_a_wrong_choice_is_told_in_words_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache", "foo"]) == 2
    assert capsys.readouterr().err.startswith("error[usage]: invalid value for 'action': 'foo' is not one of 'list', ")


@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_out_under_another_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(option: str) -> str:
        assert app.main([name, option]) == 2
        return capsys.readouterr().err.replace(option, "--out")

    own = getattr(import_module(app.registered()[name].name), "SETTINGS", None)
    if own is None:
        assert said("--output") == said("--out")
        assert app.main([name, "--help"]) == 0
        assert "--output" not in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"latency-stats", "qaic-sim"}))
def test_help_names_what_an_option_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([name, "--help"]) == 0
    options = capsys.readouterr().out.partition("Options:")[2]
    assert re.findall(r"--[\w-]+ <[^|>]*>", options) == []


@pytest.mark.parametrize("window", ["1e300", "inf", "nan", "-1"])
@pytest.mark.parametrize("words", [["measure"], ["serve-rate", "--limit", "p99 < 1 s"], ["verify"]])
def test_a_window_is_a_time_that_can_pass(words: list[str], window: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([*words, "nowhere", "--window", window]) == 2
    assert "'--window': it should be" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_bug(closed: str) -> None:
    line = f'"{sys.executable}" -m infertune.cli.app model --list {closed}'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
