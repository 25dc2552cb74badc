"""The command line. Verbs stay thin: every one of them imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lossdoctor import __version__
from lossdoctor.language import say
from lossdoctor.model import LossDoctorError, NothingToAnalyse, fails
from lossdoctor.reports import ENDINGS, FORMATS, Look, save

if TYPE_CHECKING:
    from lossdoctor.checkup import CheckReport
    from lossdoctor.collect import Analyse
    from lossdoctor.many import Outcome, Sources
    from lossdoctor.model import Report
    from lossdoctor.watch import View

OK, FINDINGS, UNUSABLE, NOTHING = 0, 1, 2, 3
#: In the list a longer one gets a line of its own, so that the others leave room for their sentence.
LONGEST_SLUG = 28
#: Inputs that could not be used and are named one by one.
COMPLAINTS = 5


Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

FAIL_ON = click.option(
    "--fail-on",
    type=click.Choice(["critical", "warning", "never"]),
    default="critical",
    show_default=True,
    help="Exit with 1 from this severity on.",
)


def _speak(context: click.Context, option: click.Parameter, code: str | None) -> None:
    """The language of what is said; the one of the variable is looked at here, so that the command line can refuse it."""
    from lossdoctor import language

    try:
        if code is not None or language.not_spoken():
            language.use(code or "")
    except language.UnknownLanguage as error:
        raise LossDoctorError(str(error)) from None


LANG = click.option(
    "--lang",
    metavar="CODE",
    is_eager=True,
    expose_value=False,
    callback=_speak,
    help="Language of reports and pages: en or ko (LOSSDOCTOR_LANG does the same). Options and errors are in English.",
)
NO_COLOR = click.option("--no-color", is_flag=True, help="Plain text (NO_COLOR does the same).")


class OneLineErrors(click.Group):
    """Says what is wrong with the input in one line on stderr and exits 2; never a traceback."""

    def main(  # type: ignore[override]  # what click may pass besides goes on to it unseen
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except (LossDoctorError, click.ClickException) as error:
            if not standalone_mode:
                raise
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            if isinstance(error, click.UsageError) and error.ctx:
                message += f" See: {error.ctx.command_path} --help"
            _complain(message)
            code = NOTHING if isinstance(error, NothingToAnalyse) else UNUSABLE
        except (click.Abort, KeyboardInterrupt):
            code = 130
        except BrokenPipeError:  # the reader of our output has seen enough
            sys.stderr.close()
            code = OK
        if standalone_mode:
            sys.exit(code or OK)
        return code


@click.group(
    cls=OneLineErrors,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="lossdoctor")
@LANG
@click.pass_context
def main(context: click.Context) -> None:
    """Tells what is wrong with a fine-tuning run, why, and what to change."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _output_options(what: str, formats: Iterable[str], endings: str, variable: str | None = None) -> Decorator:
    """How a verb writes what it has found: as text, or in one of its formats, to stdout or to a file."""

    def add(command: Command) -> Command:
        format_ = click.option(
            "--output-format",
            type=click.Choice(list(formats)),
            envvar=variable,
            help=f"How to write the {what}; text, unless the name of the file with -o says otherwise.",
        )
        output = click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help=f"Write the {what} to this file: {endings}, or text.",
        )
        return format_(output(command))

    return add


def _report_options(command: Command) -> Command:
    """The options that every verb with a report on runs has."""
    endings = ".html, .md, .json, .jsonl, .xml (JUnit), .svg (the chart alone)"
    return _output_options("report", FORMATS, endings, "LOSSDOCTOR_OUTPUT_FORMAT")(FAIL_ON(NO_COLOR(LANG(command))))


def _fact_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What the user says of the run besides its log."""
    config = click.option(
        "--config",
        "config",
        type=click.Path(),
        multiple=True,
        help="File with settings of the run: JSON, YAML, a script with flags, a TrainingArguments dump, a model card.",
    )
    pairs = click.option(
        "--set", "pairs", multiple=True, metavar="NAME=VALUE", help='One fact, such as gpu="RTX 3090" or fp16=true.'
    )
    return config(pairs(command))


@main.command()
@click.argument("paths", nargs=-1, required=True)
@_fact_options
@click.option("--suggest", type=click.Path(dir_okay=False), metavar="FILE.yaml", help="Write what to change to this file.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes for many runs; as many as there are cores.")
@click.option("--resume", is_flag=True, help="Go on with the file of JSON lines that -o names: what it has already is not read.")
@_report_options
def analyze(
    paths: tuple[str, ...],
    config: tuple[str, ...],
    pairs: tuple[str, ...],
    suggest: str | None,
    jobs: int | None,
    resume: bool,
    **options: Any,
) -> int:
    """Analyse finished or running logs: a trainer_state.json, TensorBoard event files, JSON lines,
    what a Trainer printed or a notebook shows, tables, CSV, what other frameworks print and trackers store; a checkpoint, an
    output folder, or all runs below a folder. A - is standard input, and an address is read as a path is: hf://user/model,
    https://huggingface.co/user/model, s3://bucket/run.

    Several runs give a table first, the worst at its top; logs of the same run are one run. Exits with 0 if all is well, 1 on
    findings, 2 if an input or an option cannot be used, 3 if there is nothing to analyse.
    """
    from functools import partial

    from lossdoctor import analysis, collect
    from lossdoctor.config import settings
    from lossdoctor.facts import config_file
    from lossdoctor.many import analyze_many

    configurations, known = config_file.several([Path(file) for file in config]), config_file.settings(pairs)
    thresholds = settings()
    found = analysis.find(paths)
    _complain_of(found.notes)
    if (analysis.PIPE,) in found.runs:
        jobs = 1  # a worker has no standard input
        if sys.stdin is not None and sys.stdin.isatty():
            click.echo("paste the log, then Ctrl-D (Ctrl-Z and Enter on Windows)", err=True)
    analyse: Analyse = partial(analyze_many, known=known, configurations=configurations, settings=thresholds, jobs=jobs)
    kind = options["output_format"] or ENDINGS.get(Path(options["output"] or "").suffix.lower(), "text")
    if kind == "jsonl" and not suggest:
        return _lines(found.runs, analyse, options["output"], options["fail_on"], resume)
    if resume:
        raise LossDoctorError("--resume goes on with JSON lines: it takes -o FILE.jsonl, without --suggest")
    outcomes = list(_progress(analyse(found.runs, rows=len(found.runs) <= collect.KEPT_ROWS, ordered=True), len(found.runs)))
    errors = [outcome.error for outcome in outcomes if outcome.error]
    reports = collect.merged(outcomes)
    if len(outcomes) > collect.KEPT_ROWS:
        reports = collect.with_rows(reports, outcomes, kind, partial(analyse, rows=True))
    unreadable = tuple(str(error) for error in errors)
    _complain_of(unreadable)
    if not reports:
        if errors and kind == "junit":
            _write([], **options, unreadable=unreadable)
        return NOTHING if all(isinstance(e, NothingToAnalyse) for e in errors) else UNUSABLE
    if suggest and len(reports) > 1:
        raise LossDoctorError(f"--suggest takes one run, found {len(reports)}: analyse them one at a time")
    code = _write(reports, **options, unreadable=unreadable)
    if suggest:
        _suggest(reports[0], suggest)
    unusable = any(not isinstance(e, NothingToAnalyse) for e in errors)
    return UNUSABLE if unusable and code == OK else code


@main.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="One fact that holds for all, such as dataset_rows=5000."
)
@click.option("--baseline", is_flag=True, help="The first is the baseline: exit with 1 if another one is worse beyond noise.")
@_output_options("comparison", ("text", "json", "markdown", "html"), ".html, .md, .json, .svg (the curves alone)")
@NO_COLOR
@LANG
def compare(
    paths: tuple[str, ...],
    pairs: tuple[str, ...],
    baseline: bool,
    output_format: str | None,
    output: str | None,
    no_color: bool,
) -> int:
    """Compare runs or configurations, each with the first: what differs, what of it matters, and whether the curves differ
    beyond their noise.

    A path is a run, in any way that analyze reads one, or a configuration: TrainingArguments as JSON or YAML, LLaMA-Factory,
    axolotl, DeepSpeed, kedro parameters, a script with flags. With --baseline exits with 1 if a run ends worse than the first
    one beyond noise, or breaks where the first one did not.
    """
    from lossdoctor import analysis, comparing
    from lossdoctor.comparison.baseline import worse
    from lossdoctor.config import settings
    from lossdoctor.facts import config_file
    from lossdoctor.reports import comparison as reports

    found = comparing.compare(
        *(each for path in paths for each in analysis.expand([path])), known=config_file.settings(pairs), settings=settings()
    )
    if output:
        reports.save(found, output, output_format)
    else:
        _print(reports.FORMATS[output_format or "text"](found, Look(color=False if no_color else None)))
    return FINDINGS if baseline and any(worse(pair) for pair in found.pairs) else OK


@main.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(), metavar="CONFIG...")
@click.option("--model", metavar="NAME", help="The model, where the configuration does not name it.")
@click.option("--dataset-rows", type=click.IntRange(1), metavar="N", help="Training examples: steps and epochs follow from them.")
@click.option("--gpu", metavar="NAME", help='What it will run on, such as T4 or "4x A100".')
@click.option("--model-path", type=click.Path(), metavar="DIR", help="The folder of the model or its tokenizer on this machine.")
@click.option(
    "--data", type=click.Path(), metavar="FILE", help="The examples on this machine: JSON lines, CSV, Parquet, a folder."
)
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="One fact, such as fp16=true.")
@click.option("--suggest", type=click.Path(dir_okay=False), metavar="FILE.yaml", help="Write what to change to this file.")
@_output_options("report", ("text", "json", "markdown", "html", "github", "junit"), ".html, .md, .json, .xml (JUnit)")
@FAIL_ON
@NO_COLOR
@LANG
def check(
    configs: tuple[str, ...],
    model: str | None,
    dataset_rows: int | None,
    gpu: str | None,
    model_path: str | None,
    data: str | None,
    pairs: tuple[str, ...],
    suggest: str | None,
    **options: Any,
) -> int:
    """Check a configuration before anything is trained: precision, schedule, learning rate, batch, adapter, checkpoints.

    CONFIG is a file with settings: TrainingArguments as JSON or YAML, LLaMA-Factory, axolotl, DeepSpeed, a script with flags, a
    training_args.bin, or the folder of a run. Several files describe one run, such as the arguments and the DeepSpeed JSON;
    the later ones win.

    With --data and --model-path the examples are made into tokens and labels as the run would make them, and measured: how many
    tokens are supervised, what is cut, whether tokenizer and vocabulary fit, the loss of one batch. Nothing is downloaded.

    Exits with 0 if all is well, 1 on findings, 2 if an input or an option cannot be used.
    """
    from lossdoctor import checkup
    from lossdoctor.config import settings
    from lossdoctor.facts import config_file

    facts = {name: known.value for name, known in config_file.settings(pairs).items()}
    report = checkup.check(list(configs), model=model, rows=dataset_rows, gpu=gpu, facts=facts, settings=settings())
    if model_path or data:
        from lossdoctor.probes.data import examine

        seen = examine(Path(model_path) if model_path else None, Path(data) if data else None, report.run, settings())
        run = report.run.knowing(seen.facts)
        basis = seen.measured.basis if seen.measured.rows else ""
        report = checkup.examine(run, settings(), extra=seen.findings, not_judged=seen.not_judged, looked_at=basis)
    code = _write_check(report, **options)
    if suggest:
        _suggest(report, suggest)
    return code


@main.command()
@click.argument("rundir", type=click.Path())
@click.option("--state", type=click.Path(), metavar="FILE", help="Judge by this trainer_state.json of the same run.")
@click.option("--undo", is_flag=True, help="Take the marks away again.")
@LANG
def annotate(rundir: str, state: str | None, undo: bool) -> int:
    """Mark what is wrong with a run on the charts that TensorBoard draws of it.

    RUNDIR is the folder of a run's event files, or a log directory with several. Marks are dots on the curves and a summary in
    the Text tab; they go into the folder lossdoctor beside the event files, which are only read, also while training writes.
    """
    from lossdoctor import annotate as marking
    from lossdoctor.base import counted
    from lossdoctor.dots import MAIN
    from lossdoctor.reports.words import quoted
    from lossdoctor.sinks.tensorboard import address

    folders = marking.runs(Path(rundir))
    if state and len(folders) > 1:
        raise LossDoctorError(f"--state is of one run, found {len(folders)} in {rundir}: name one of them")
    tags: list[str] = []
    failed: list[LossDoctorError] = []
    for folder in folders:
        try:
            if undo:
                said = say("{files} taken away", files=counted(marking.undo(folder), "file"))
            else:
                done = marking.annotate(folder, state=Path(state) if state else None)
                said = f"{say(done.report.verdict)}: {marking.outcome(done)}"
                tags += done.tags
        except LossDoctorError as error:  # other runs may be read, and written to, all the same
            failed.append(error)
            continue
        click.echo(f"{marking.title(folder)}: {said}")
    if tags:
        tag = MAIN if MAIN in tags else tags[0]
        click.echo(
            "\n"
            + say("To see them: tensorboard --logdir {rundir}\nand then: {address}", rundir=quoted(rundir), address=address(tag))
        )
        click.echo(say("What a dot means stands behind the (i) of its card in the Scalars tab, and in the Text tab."))
    told = [problem for problem in failed if not isinstance(problem, NothingToAnalyse)]
    if len(failed) == len(folders) and len(told) < 2:
        raise (told or failed)[0]
    for problem in told:
        click.echo(f"lossdoctor: {problem}", err=True)
    return UNUSABLE if told else OK


@main.command()
@click.argument("path")
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds between two looks.")
@_fact_options
@FAIL_ON
@NO_COLOR
@LANG
def watch(path: str, interval: float, config: tuple[str, ...], pairs: tuple[str, ...], fail_on: str, no_color: bool) -> int:
    """Watch a run in progress: its charts, when it will be over, what is wrong and what to change.

    PATH is what the run writes: its output folder, TensorBoard event files, a trainer_state.json, JSON lines, or what it
    prints, kept with python -u train.py 2>&1 | tee train.log. It need not be there yet. In a pipe there is a line for each
    change, and now and then for the progress.

    Ends with the run, or with Ctrl-C: the run goes on. Exits like analyze, with 1 if the last verdict is as bad as --fail-on.
    """
    from functools import partial

    from lossdoctor import analysis
    from lossdoctor import watch as watching
    from lossdoctor.config import settings
    from lossdoctor.facts import config_file

    configurations = config_file.several([Path(file) for file in config])
    analyse = partial(analysis.analyze, known=config_file.settings(pairs), configurations=configurations, settings=settings())
    report = watching.watch(path, _view(no_color), analyse, interval)
    return _code([report] if report else [], fail_on)


@main.command()
@_report_options
def demo(**options: Any) -> int:
    """Analyse a small bundled run: a fine-tune in fp16 whose loss fell to 0.0."""
    from dataclasses import replace
    from importlib.resources import as_file, files

    from lossdoctor import analysis
    from lossdoctor.facts import config_file

    known = config_file.settings(["gpu=RTX 3090"])
    with as_file(files("lossdoctor") / "demo") as folder:
        reports = [replace(r, run=replace(r.run, path=say("the demo run"))) for r in analysis.analyze(folder, known=known)]
    _write(reports, **options)
    return OK


@main.command()
@click.argument("slug")
@LANG
def explain(slug: str) -> int:
    """Explain a symptom, a cause or a check: what it watches, why it matters, what it misses."""
    from lossdoctor.explain import markdown

    text = markdown(slug)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console(width=min(100, Console().width)).print(Markdown(text))
    else:
        click.echo(text, nl=False)
    return OK


@main.command()
@click.option(
    "--install",
    "folder",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Write it to FOLDER/lossdoctor/SKILL.md instead; agents look in .claude/skills or .agents/skills.",
)
@click.option("--replace", is_flag=True, help="Overwrite another SKILL.md that is there.")
def skill(folder: str | None, replace: bool) -> int:
    """Print what an agent has to know to use lossdoctor: a SKILL.md."""
    from lossdoctor import skill as page

    if folder is None:
        if replace:
            raise LossDoctorError("--replace goes with --install FOLDER")
        click.echo(page.text(), nl=False)
        return OK
    path, written = page.install(Path(folder), replace=replace)
    click.echo(f"{path} {'is written' if written else 'is there already'}")
    return OK


@main.command("list")
@LANG
def list_pages() -> int:
    """List every symptom, cause and check that lossdoctor knows."""
    import shutil

    from lossdoctor.explain import pages, summary
    from lossdoctor.registry import all_causes, all_checks, all_data_checks, all_detectors, installed
    from lossdoctor.wrapping import wrapped

    for note in installed()[1]:
        _complain(f"{note.what} is left out: {note.why}")
    known = pages()
    wide = min(max(map(len, known)), LONGEST_SLUG)
    width = max(60, min(100, shutil.get_terminal_size().columns))
    for heading, listed in (
        (say("Symptoms: this run shows a …"), all_detectors()),
        (say("Causes: because …"), all_causes()),
        (say("Checks: this configuration has a …"), all_checks()),
        (say("Checks of data and model: here are …"), all_data_checks()),
    ):
        click.echo(heading)
        for slug, page in known.items():
            if slug in listed:
                if len(slug) > wide:
                    click.echo(f"  {slug}")
                start = " " * wide if len(slug) > wide else f"{slug:{wide}}"
                click.echo(wrapped(summary(page), width, f"  {start}  "))
    click.echo("\n" + say("lossdoctor explain SLUG tells more."))
    return OK


def _view(no_color: bool) -> View:
    """A screen where somebody looks at a terminal that can show one, lines elsewhere."""
    from lossdoctor.watch.lines import Lines

    if not sys.stdout.isatty() or not (sys.stdout.encoding or "").lower().startswith("utf"):
        return Lines(_print)
    from rich.console import Console

    console = Console(no_color=no_color or None, highlight=False, emoji=False)
    if console.is_dumb_terminal:
        return Lines(_print)
    from lossdoctor.watch.screen import Screen

    return Screen(console)


def _progress(outcomes: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """The outcomes as they come, with a bar on stderr if there are several and somebody looks."""
    if total < 2 or not sys.stderr.isatty():
        return outcomes
    from lossdoctor.reports.progress import followed

    return followed(outcomes, total)


def _lines(units: list[Sources], analyse: Analyse, output: str | None, fail_on: str, resume: bool) -> int:
    """Writes a line for each run as soon as it is judged, to the file or to stdout."""
    from lossdoctor import collect

    if resume and not output:
        raise LossDoctorError("--resume goes on with a file: it takes -o FILE.jsonl")
    done = collect.resume(Path(output), units) if resume and output else collect.Done({}, [])
    waiting = [unit for unit in units if not done.has(unit)]
    if resume:
        _complain(f"{len(units) - len(waiting):,} of {len(units):,} sources are in {output} already")
    outcomes = analyse(waiting)
    seen = outcomes if output is None and sys.stdout.isatty() else _progress(outcomes, len(waiting))
    try:
        with open(output, "ab" if resume else "wb") if output else nullcontext(sys.stdout.buffer) as out:  # noqa: PTH123
            errors, verdicts = collect.Lines(out).write(seen)
    except KeyboardInterrupt:
        if output:
            _complain(f"interrupted; what was judged is in {output}: the same command with --resume goes on")
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LossDoctorError(f"cannot write {output or 'the lines'}: {(error.strerror or str(error)).lower()}") from None
    finally:
        outcomes.close()
    _complain_of([str(error) for error in errors])
    if not verdicts and not done.verdicts:
        return NOTHING if all(isinstance(error, NothingToAnalyse) for error in errors) else UNUSABLE
    if any(fails(verdict, fail_on) for verdict in (*verdicts, *done.verdicts)):
        return FINDINGS
    return UNUSABLE if any(not isinstance(error, NothingToAnalyse) for error in errors) else OK


def _write(
    reports: list[Report],
    output_format: str | None,
    output: str | None,
    fail_on: str,
    no_color: bool,
    unreadable: tuple[str, ...] = (),
) -> int:
    look = Look(color=False if no_color or output else None, fail_on=fail_on, unreadable=unreadable)
    if output:
        save(reports, output, output_format, look)
    else:
        _print(FORMATS[output_format or "text"](reports, look))
    return _code(reports, fail_on)


def _write_check(report: CheckReport, output_format: str | None, output: str | None, fail_on: str, no_color: bool) -> int:
    from lossdoctor.reports import checkup

    look = Look(color=False if no_color or output else None, fail_on=fail_on)
    if output:
        checkup.save(report, Path(output), output_format, look)
    else:
        _print(checkup.render(report, output_format or "text", look))
    return FINDINGS if fails(report.verdict, fail_on) else OK


def _code(reports: Iterable[Report], fail_on: str) -> int:
    return FINDINGS if any(fails(report.verdict, fail_on) for report in reports) else OK


def _suggest(report: Report | CheckReport, file: str) -> None:
    if not report.suggestions:
        _complain(f"no setting to suggest for {report.run.title or 'this run'}: {file} is not written")
        return
    from lossdoctor import suggest

    suggest.write(report, Path(file))


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:  # a terminal or pipe that cannot show what we draw
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _complain_of(messages: Sequence[str]) -> None:
    """The first few, and how many more there are: thousands of lines would hide what they say."""
    for message in messages[:COMPLAINTS]:
        _complain(message)
    if len(messages) > COMPLAINTS:
        _complain(f"and {len(messages) - COMPLAINTS:,} more that could not be used; --output-format jsonl names them all")


def _complain(message: str) -> None:
    click.echo("lossdoctor: " + " ".join(message.split()), err=True)
