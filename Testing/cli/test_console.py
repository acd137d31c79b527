"""Progress and tables as a terminal, a file and a reader of the output see them."""

import io
import sys

import pytest

from SLSFGRLib.cli.console import ConsoleProgress, print_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def shown(stream, quiet=False):
    with ConsoleProgress(quiet, stream) as progress:
        progress(0.0, "Preparing")
        progress(0.25, "Deforming")
        progress(0.5, "Deforming")
        progress(1.0, "Done [1/2]")
        progress.say("Dice 0.61 → 0.84")
    return stream.getvalue()


def test_terminal_has_a_bar_and_gets_its_cursor_back():
    text = shown(Terminal())
    for words in ("Done [1/2]", "100%"):
        assert words in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert text.endswith("Dice 0.61 → 0.84\n")


def test_cursor_comes_back_after_an_error():
    stream = Terminal()

    def interrupted():
        with ConsoleProgress(stream=stream) as progress:
            progress(0.5, "Deforming")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l") >= 0


def plain(text):
    return [line.partition("] ")[2] or line for line in text.splitlines()]


EXPECTED = ["Preparing", "Deforming", "Done [1/2]", "Dice 0.61 → 0.84"]


def test_files_get_one_plain_line_for_each_stage():
    assert plain(shown(io.StringIO())) == EXPECTED


def test_without_rich_a_terminal_gets_plain_lines(monkeypatch):
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    assert plain(shown(Terminal())) == EXPECTED


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert plain(shown(Terminal())) == EXPECTED


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet_writes_nothing(stream):
    assert shown(stream, quiet=True) == ""


TABLE = (("label", "Dice"), [("4", "0.9000"), ("1011", "0.8000")], ("mean", "0.8500"))


def test_piped_tables_are_columns_of_words(capsys):
    print_table(*TABLE)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["label", "Dice"], ["4", "0.9000"], ["1011", "0.8000"], ["mean", "0.8500"]]


def test_tables_on_a_terminal_hold_the_same_cells(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(*TABLE)
    text = terminal.getvalue()
    assert "━" in text
    for cell in ("label", "Dice", "4", "0.9000", "1011", "0.8000", "mean", "0.8500"):
        assert cell in text
