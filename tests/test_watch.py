"""`lossdoctor watch`: real processes on growing logs, in a pipe and on a terminal; its charts and its arithmetic."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import diagnose, write_state
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from lossdoctor.analysis import analyze
from lossdoctor.model import Diagnosis, NotALog, Report
from lossdoctor.pace import Pace, Progress, clock
from lossdoctor.reports.dashboard import progress_line, screen
from lossdoctor.reports.terminal_chart import Series, chart, short
from lossdoctor.watch import Follower
from lossdoctor.watch.lines import Lines

ENVIRONMENT = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
    ENVIRONMENT.pop(name, None)
ESCAPE = "\x1b"


def rows(first: int, last: int, broken: int | None = None) -> list[dict[str, Any]]:
    """Rows every 10 steps of a run of 400; from step `broken` on the loss is 0.0 and the gradient NaN."""
    found = []
    for step in range(first, last + 1, 10):
        row = {"loss": 1.5 + 3 * math.exp(-step / 150) + 0.05 * math.sin(step), "grad_norm": 1 + 0.3 * math.sin(1.7 * step)}
        if broken is not None and step >= broken:
            row = {"loss": 0.0, "grad_norm": math.nan}
        found.append({**row, "learning_rate": 2e-4 * (1 - step / 400), "epoch": step / 200, "step": step})
    return found


def printed(found: Sequence[dict[str, Any]], total: int = 400) -> str:
    """The rows as a Trainer prints them, among its bars."""
    text = ""
    for row in found:
        shown = {name: f"{value:.4g}" for name, value in row.items() if name != "step"}
        text += f"\r      \r{shown}\n\r {100 * row['step'] // total}%|██▌   | {row['step']}/{total} [00:00<00:01, 45.83it/s]"
    return text


END = "\r      \r{'train_runtime': '3.9', 'train_steps_per_second': '15.29', 'train_loss': '2.5', 'epoch': '2'}\n"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lossdoctor", "watch", *arguments, "--interval", "0.1"]


class Piped:
    """The command with its output in a pipe, which is read as it comes."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, encoding="utf-8"
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def until(self, words: str, seconds: float = 20) -> None:
        """Waits until these words were written."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} did not come; there was: {self.text}"
            time.sleep(0.02)

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Waits for the end; nothing may have been complained of."""
        code = self.process.wait(20)
        self._reader.join(5)
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        assert "Traceback" not in errors + self.text
        assert code == 2 or errors == ""
        self.errors = errors
        return code


@pytest.fixture
def piped() -> Iterator[Callable[..., Piped]]:
    started: list[Piped] = []

    def start(*arguments: str | Path) -> Piped:
        started.append(Piped(*map(str, arguments)))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()
        one._reader.join(5)
        for stream in (one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()


# In a pipe


def test_a_run_is_followed_from_before_its_beginning_to_its_end(tmp_path, piped):
    """It waits for the log, tells of progress, tells what breaks and what to change once, and ends with the run: exit code 1."""
    log = tmp_path / "train.log"
    watch = piped(log)
    watch.until("train.log is not there yet")
    with log.open("w") as file:
        for text, awaited in (
            ("Loading model...\n", "no row yet"),
            (printed(rows(10, 100)), "step 100 of 400 (25 %), epoch 0.5, loss 3.0"),
            (printed(rows(110, 200)), "step 200 of 400 (50 %), epoch 1"),
            (printed(rows(210, 320, broken=260)), "CRITICAL"),
            (printed(rows(330, 400, broken=260)) + END, "ended"),
        ):
            file.write(text)
            file.flush()
            watch.until(awaited)
    assert watch.end() == 1
    assert ESCAPE not in watch.text
    assert watch.text.count("loss-collapse-to-zero:") == 1 and watch.text.count("attn_implementation: eager") == 1
    assert "ETA unknown" in watch.lines[2] and "ETA " in watch.text.partition("step 200")[2]
    assert sum("rows judged" in line for line in watch.lines) == 1
    assert watch.lines[-1].startswith("lossdoctor ✖ CRITICAL  The loss, ") and "Last good step: 250." in watch.lines[-1]


def test_ctrl_c_is_a_normal_way_to_leave(tmp_path, piped):
    """The verdict so far in one line, and the exit code of the verdict: 0 for a healthy run."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 300)))
    watch = piped(log)
    watch.until("step 300 of 400")
    assert watch.interrupt() == 0
    assert watch.lines[-1] == "lossdoctor ✔ HEALTHY  Nothing wrong found in this log. 30 rows judged.\n"


@pytest.mark.parametrize(("option", "code"), [(["--fail-on", "never"], 0), ([], 1)])
def test_the_exit_code_is_that_of_analyze(tmp_path, piped, option, code):
    """A finished run that broke is told of at once; --fail-on decides what that means."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 400, broken=200)) + END)
    assert piped(log, *option).end() == code


def test_ctrl_c_before_anything_was_seen_is_no_error(tmp_path, piped):
    """Leaving while it waits says nothing and exits with 0."""
    watch = piped(tmp_path / "train.log")
    watch.until("waiting")
    assert watch.interrupt() == 0 and len(watch.lines) == 1


def test_a_request_to_end_is_met_like_ctrl_c(tmp_path, piped):
    """A job that is ended by SIGTERM still gives its verdict."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 300)))
    watch = piped(log)
    watch.until("step 300 of 400")
    watch.process.terminate()
    assert watch.end() == 0 and "HEALTHY" in watch.lines[-1]


def test_an_output_folder_is_followed_through_its_checkpoints(tmp_path, piped):
    """Each new state in a new checkpoint is read; the last step of all ends it, without a summary as well."""
    folder = tmp_path / "out"
    folder.mkdir()
    watch = piped(folder)
    watch.until("holds no trainer_state.json")
    for step in (100, 200, 400):
        write_state(folder / f"checkpoint-{step}", rows(10, step), max_steps=400)
        watch.until(f"step {step} of 400")
    assert watch.end() == 0 and "HEALTHY" in watch.lines[-1]


def test_a_half_written_state_is_no_error(tmp_path, piped):
    """While a state is rewritten the last good one stands; afterwards the new one does."""
    state = write_state(tmp_path, rows(10, 100), max_steps=400)
    watch = piped(state)
    watch.until("step 100 of 400")
    whole = json.dumps({"log_history": rows(10, 200), "max_steps": 400})
    for part in ("", whole[: len(whole) // 2]):
        state.write_text(part)
        time.sleep(0.4)
    state.write_text(whole)
    watch.until("step 200 of 400")
    assert watch.interrupt() == 0
    assert [line.split(",")[0] for line in watch.lines[:-1]] == ["step 100 of 400 (25 %)", "step 200 of 400 (50 %)"]


def test_a_log_that_is_replaced_begins_anew(tmp_path, piped):
    """A new run in the same file is another run: what was said of the old one no longer counts."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 300, broken=200)))
    watch = piped(log)
    watch.until("CRITICAL")
    log.write_text(printed(rows(10, 50)))
    watch.until("begins anew")
    watch.until("step 50 of 400")
    assert watch.interrupt() == 0 and "CRITICAL" not in watch.lines[-1]


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04\x14\0\0\0", b"\x89PNG\r\n\x1a\n\0\0", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_what_can_never_be_a_log_is_an_error(tmp_path, piped, content):
    """A binary file is refused in one line with exit code 2, rather than waited for."""
    file = tmp_path / "model.bin"
    file.write_bytes(content)
    watch = piped(file)
    assert watch.end() == 2 and watch.errors.startswith(f"lossdoctor: {file} is a ") and watch.errors.count("\n") == 1


def test_a_device_is_an_error():
    """What is neither a file nor a folder is refused."""
    with pytest.raises(NotALog, match="neither a file nor a folder"):
        Follower(Path("/dev/null"), analyze).look()


def test_a_reader_that_has_seen_enough_ends_it(tmp_path):
    """`lossdoctor watch PATH | head -1` ends without a word at the next line."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 100)))
    process = subprocess.Popen(command(str(log)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith(b"step 100")
    process.stdout.close()
    log.write_text(printed(rows(10, 400)))
    process.wait(20)
    assert process.stderr.read() == b""
    process.stderr.close()


# On a terminal


class Terminal:
    """The command on a terminal of a size of its own."""

    def __init__(self, *arguments: str, columns: int, lines: int) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:  # the child: no test goes on here
            with contextlib.suppress(Exception):
                os.execve(sys.executable, command(*arguments), ENVIRONMENT)
            os._exit(127)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.written = b""

    def read(self, done: Callable[[str], bool], seconds: float = 20) -> str:
        """What was written by the time that `done` is true of it, or that it has ended."""
        end = time.monotonic() + seconds
        while not done(self.text) and time.monotonic() < end:
            if select.select([self.file], [], [], 0.1)[0]:
                try:
                    data = os.read(self.file, 65536)
                except OSError:  # its other end is closed
                    break
                if not data:
                    break
                self.written += data
        return self.text

    @property
    def text(self) -> str:
        return self.written.decode("utf-8", "replace")

    def end(self) -> int:
        self.read(lambda _: False)
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def plain(text: str) -> str:
    """Without colours; where the cursor moves up to draw anew, a line ends."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "\n", re.sub(r"\x1b\[[0-9;]*m", "", text)).replace("\r", "")


@pytest.mark.parametrize(("columns", "lines"), [(100, 40), (45, 20), (40, 12)])
def test_a_terminal_shows_charts_and_what_to_change(tmp_path, columns, lines):
    """Curve, verdict and mark fit the terminal, Ctrl-C gives it back with the cursor shown and the verdict below."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 300, broken=200)))
    terminal = Terminal(str(log), columns=columns, lines=lines)
    terminal.read(lambda text: "the run goes on" in text)
    with log.open("a") as file:
        file.write(printed(rows(310, 350, broken=200)))
    terminal.read(lambda text: "step 350 of 400" in text and text.count("the run goes on") > 2)
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 1
    shown = plain(terminal.text)
    assert "Traceback" not in shown
    assert "✖ CRITICAL" in shown and "learning rate" in shown and "✖ step 191 " in shown and "Ctrl-C leaves" in shown
    assert shown.rstrip().endswith("190.")
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")
    assert all(len(line) <= columns for line in shown.splitlines())


def test_a_run_that_ends_leaves_the_terminal_by_itself(tmp_path):
    """On a terminal as well the summary of the run is the end."""
    log = tmp_path / "train.log"
    log.write_text(printed(rows(10, 400)) + END)
    terminal = Terminal(str(log), "--no-color", columns=80, lines=24)
    assert terminal.end() == 0
    shown = plain(terminal.text)
    assert "ended" in shown and "HEALTHY" in shown and "\x1b[31m" not in terminal.text


# The screen


@pytest.mark.parametrize("width", [40, 45, 76, 80, 100, 200])
@pytest.mark.parametrize("height", [6, 12, 20, 24, 40])
@pytest.mark.parametrize("broken", [None, 200])
def test_the_screen_fits_any_terminal(width, height, broken):
    """No more lines than there are, none longer than it is wide; the position and the verdict are always there."""
    report = diagnose(rows(10, 300, broken=broken), max_steps=400)
    report = replace(report, run=replace(report.run, path="runs/of/somebody/with-a-long-name/" * 3 + "train.log"))
    drawn = screen(report, Progress(300, 400, 1.5, 0.5, 50.0), width=width, height=height, foot="Ctrl-C leaves", color=False)
    lines = drawn.split("\n")
    assert len(lines) <= height and max(line.cell_len for line in lines) <= width
    assert "step 300 of 400 (75 %)" in drawn.plain and ("CRITICAL" if broken else "HEALTHY") in drawn.plain
    assert "loss" in drawn.plain and "ETA 50 s" in drawn.plain


def test_a_narrow_screen_keeps_the_remedy_rather_than_the_explanation():
    """Where there is no room for all, what to change stands directly below the verdict."""
    report = diagnose(rows(10, 300, broken=200), max_steps=400)
    drawn = screen(report, Progress(300, 400), width=60, height=20, color=False).plain
    assert "→" in drawn and "If so:" not in drawn and "tells all" in drawn


def test_a_run_with_nothing_but_a_loss_has_one_chart():
    """Columns that are not logged are not drawn."""
    report = diagnose([{"loss": 3 - step / 100, "step": step} for step in range(1, 100)])
    drawn = screen(report, Progress(99), width=100, height=30).plain
    assert "loss  2.99 → 2.01" in drawn and "gradient norm" not in drawn and "ETA unknown" in drawn


# Charts

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=60)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.integers(12, 120), st.integers(1, 12), st.booleans())
def test_a_chart_of_any_values_fits(values, width, height, logarithmic):
    """NaN, infinity, denormal and huge numbers, one point or none: the chart has its height and its width."""
    series = Series("loss", list(enumerate(values)), marks={0: "red"}, logarithmic=logarithmic)
    lines = chart(series, width, height, (0, max(0, len(values) - 1)))
    assert len(lines) == height + 2 and all(line.cell_len <= width for line in lines)


def drawn(values: Sequence[float], width: int = 40, height: int = 4, **more: Any) -> list[str]:
    series = Series("loss", list(enumerate(values)), **more)
    return [line.plain for line in chart(series, width, height, (0, len(values) - 1))]


def test_a_spike_of_one_row_in_thousands_is_seen():
    """Columns show the largest value that they stand for: nothing is averaged away."""
    title, top, *_ = drawn([1.0] * 2500 + [9.0] + [1.0] * 2500)
    assert title == "loss  1 → 1" and top.startswith("9 ") and top.strip("9 ")


def test_a_falling_series_goes_from_the_upper_left_to_the_lower_right():
    """The first value is at the top on the left, the last at the bottom on the right, each with its number."""
    _, top, *_, bottom = drawn([4 - i / 10 for i in range(31)])
    assert top[:2] == "4 " and top[2] != " " and top[-1] == " "
    assert bottom[:3] == "1  " and bottom[-1] != " " and len(bottom) == 40


def test_a_constant_series_is_a_line_with_its_value():
    """A series that does not move is drawn at the bottom, with one number."""
    _, *empty, line = drawn([2.5] * 20)
    assert not any(part.strip() for part in empty) and line.startswith("2.5 ⣀⣀⣀")


def test_what_is_not_finite_is_a_cross():
    """NaN among numbers leaves a × where it was; NaN alone, nothing but ×."""
    half = drawn([1.0] * 50 + [math.nan] * 50)[-1]
    assert half.startswith("1 ⣀⣀⣀") and half.endswith("×××") and half.count("×") == 19
    assert set(drawn([math.nan] * 100)[-1].strip()) == {"×"}


def test_norms_of_many_sizes_are_drawn_by_their_logarithm():
    """Across more than two decades the scale is logarithmic, and says so; zeros stand at the bottom."""
    title, top, _, _, bottom = drawn([10.0**i for i in range(-2, 5)] + [0.0], logarithmic=True)
    assert title.endswith("(log scale)") and top.startswith("1e+04 ") and " 0.01 " in f" {bottom} "
    assert not drawn([1.0, 50.0], logarithmic=True)[0].endswith("(log scale)")


def test_a_mark_stands_below_its_step():
    """The mark of a symptom is in the column of its onset, in its colour."""
    lines = chart(Series("loss", [(0, 1.0), (100, 2.0)], marks={50: "bold red"}), 42, 3, (0, 100))
    assert lines[-1].plain.rstrip() == " " * 22 + "▲" and Text("x", "bold red").style in [span.style for span in lines[-1].spans]


@pytest.mark.parametrize(
    ("value", "words"),
    [(4.1234, "4.123"), (0.0, "0"), (2e-4, "2e-4"), (123456.0, "1.2e+05"), (math.nan, "nan"), (1e-320, "1e-320")],
)
def test_labels_are_short(value, words):
    """A number at the side of a chart takes eight characters at most."""
    assert short(value) == words and len(words) <= 8


# When it will be over


def paced(*seen: tuple[float, int]) -> Pace:
    pace = Pace()
    for moment, step in seen:
        pace.add(moment, step)
    return pace


def test_nobody_knows_before_two_steps_were_seen():
    """One step, or the same step twice, tells no pace: unknown is said."""
    assert paced((0, 10)).left(100, 5) is None
    assert paced((0, 10), (60, 10)).left(100, 60) is None
    assert paced((0, 10), (60, 20)).left(None, 60) is None


def test_the_time_left_follows_from_the_pace():
    """Ten steps in twenty seconds leave 160 seconds for eighty more, and fewer as the clock goes on."""
    pace = paced((0, 10), (20, 20))
    assert pace.seconds_per_step == 2.0
    assert pace.left(100, 20) == 160.0 and pace.left(100, 30) == 150.0


def test_evaluations_count_and_sleep_does_not():
    """A pause that comes again and again is part of the pace; a night in which the machine slept is not."""
    steady = [(10.0 * i + 20.0 * (i // 5), 10 * i) for i in range(1, 16)]
    assert paced(*steady).seconds_per_step == pytest.approx(1.4, rel=0.1)
    asleep = [(moment + 30_000 * (step > 80), step) for moment, step in steady]
    assert paced(*asleep).seconds_per_step == pytest.approx(1.4, rel=0.15)


def test_steps_that_go_back_begin_a_new_pace():
    """A resumed or replaced run is not measured against the one before."""
    assert paced((0, 100), (10, 200), (20, 50)).seconds_per_step is None


def test_a_long_silence_is_told():
    """Without a new row for far longer than usual, the silence is what there is to say."""
    pace = paced((0, 10), (20, 20), (40, 30))
    assert pace.quiet(100) is None and pace.quiet(200) == 160
    report = diagnose(rows(10, 100), max_steps=400)
    assert progress_line(report, Progress(100, 400, quiet=160.0)).endswith("no new row for 3 min")


@given(st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 10**9)), max_size=40), st.floats(0, 1e9))
def test_no_clock_can_break_the_arithmetic(seen, now):
    """Whatever times files have, the pace is positive and the time left is not negative."""
    pace = paced(*seen)
    left = pace.left(10**6, now)
    assert pace.seconds_per_step is None or pace.seconds_per_step > 0
    assert left is None or left >= 0
    assert len(pace._seen) <= 20


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11_100, "3 h 05 min"), (190_000, "2 d 4 h")],
)
def test_durations_are_words(seconds, words):
    """As people say them."""
    assert clock(seconds) == words


# What follows the log


def test_checkpoints_tell_the_pace_at_once(tmp_path):
    """The times at which the checkpoints were written give an ETA at the first look."""
    now = time.time()
    for age, step in ((200, 100), (100, 200), (0, 300)):
        state = write_state(tmp_path / f"checkpoint-{step}", rows(10, step), max_steps=400)
        os.utime(state, (now - age, now - age))
    follower = Follower(tmp_path, analyze)
    assert follower.look() and follower.sight is not None
    assert follower.sight.progress.left == pytest.approx(100, abs=5)


def test_nothing_new_is_not_read_again(tmp_path):
    """A file that did not change is only asked for its size and time."""
    calls: list[Any] = []

    def counting(path: Any) -> list[Report]:
        calls.append(path)
        return analyze(path)

    follower = Follower(write_state(tmp_path, rows(10, 100), max_steps=400), counting)
    assert [follower.look() for _ in range(5)] == [True, False, False, False, False] and len(calls) == 1


def test_epochs_tell_the_end_where_steps_do_not(tmp_path):
    """Without max_steps the total follows from the number of epochs."""
    follower = Follower(write_state(tmp_path, rows(10, 100), num_train_epochs=2), analyze)
    follower.look()
    assert follower.sight is not None and follower.sight.progress.total == 400


def test_estimated_steps_that_shrink_are_no_new_run():
    """Steps told from epochs may be corrected downwards: only another first row, or fewer rows, is another run."""
    shorter = [{**row, "step": row["step"] - 5} for row in rows(10, 100)]
    reports = [diagnose(rows(10, 100)), diagnose(shorter), diagnose(rows(20, 200)), diagnose(rows(20, 100))]
    follower = Follower(Path(__file__), lambda _: [reports.pop(0)])
    anew = []
    while reports:
        follower._signature = None  # as if the file had changed
        assert follower.look() and follower.sight is not None
        anew.append(follower.sight.anew)
    assert anew == [False, False, True, True]


def test_a_symptom_that_flutters_is_told_a_few_times(tmp_path):
    """A run that breaks and heals again and again does not fill the job's log."""
    from lossdoctor.watch import Sight

    told: list[str] = []
    lines = Lines(told.append)
    healthy, sick = diagnose(rows(10, 300)), diagnose(rows(10, 300, broken=200))
    for count in range(40):
        lines.seen(Sight(sick if count % 2 else healthy, Progress(300, 400)))
    assert 4 < sum("loss-collapse-to-zero" in line for line in told) < 10 and len(told) < 45
    assert any("further changes of it are not told" in line for line in told)


def test_what_is_surely_expected_alarms_nobody(tmp_path):
    """Neither a line nor a mark for it; where it was told before anybody could know, that is said instead of a healing."""
    from lossdoctor.watch import Sight

    sick = diagnose(rows(10, 300, broken=200))
    normal = Diagnosis("of-its-kind", "it is of its kind", "high", sick.symptoms, "", normal=True)
    calm = replace(sick, diagnoses=(normal,), verdict="healthy")
    told: list[str] = []
    lines = Lines(told.append)
    lines.seen(Sight(calm, Progress(300, 400)))
    assert len(told) == 1 and "✖" not in screen(calm, Progress(300, 400), width=100, height=40).plain
    lines.seen(Sight(sick, Progress(300, 400)))
    lines.seen(Sight(calm, Progress(300, 400)))
    assert any("loss-collapse-to-zero of step 191 is expected here" in line for line in told)
    assert not any("has healed" in line for line in told)


def test_watching_loads_no_training_library():
    """The first screen is there without torch and transformers."""
    code = (
        "import lossdoctor.watch, lossdoctor.watch.lines, lossdoctor.watch.screen, lossdoctor.analysis, sys; print(*sys.modules)"
    )
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "transformers", "tensorboard", "scipy", "pandas"}
