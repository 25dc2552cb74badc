"""What TensorBoard asks of the tab, each answer guarded: a failure is said in the tab and costs TensorBoard nothing."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tensorboard.backend.http_util import Respond
from tensorboard.context import RequestContext
from tensorboard.errors import NotFoundError
from tensorboard.plugin_util import context as context_of
from tensorboard.plugin_util import experiment_id
from tensorboard.plugins.base_plugin import FrontendMetadata, TBPlugin
from werkzeug.wrappers import Request

from lossdoctor_tensorboard.pages import Pages, newest_first

#: What lossdoctor calls the loss of a training, however its tag is written.
LOSSES = ("loss", "train_loss")
#: Errors that say all by themselves.
PLAIN = ("LossDoctorError", "NothingToAnalyse", "NotFoundError")
logger = logging.getLogger("lossdoctor")


class Tab(TBPlugin):  # type: ignore[misc]
    """The tab, for the runs of one TensorBoard; all that it needs is made at once, so that no later question can fail."""

    plugin_name = "lossdoctor"

    def __init__(self, context: Any) -> None:
        self._provider = context.data_provider
        self._pages = Pages(context.logdir, context.data_provider)
        self._metadata = FrontendMetadata(es_module_path="/index.js", tab_name="LossDoctor")
        self._script = Path(__file__).with_name("index.js").read_text(encoding="utf-8")
        self._said: set[str] = set()
        self._column: Callable[[str], str] | None = None
        routes = {"/index.js": self._index, "/runs": self._runs, "/state": self._state, "/report": self._report}
        self._apps = {path: Request.application(self._guarded(route)) for path, route in routes.items()}

    def get_plugin_apps(self) -> dict[str, Any]:
        """The routes below data/plugin/lossdoctor."""
        return self._apps

    def frontend_metadata(self) -> Any:
        """The name of the tab, and the script that fills it."""
        return self._metadata

    def data_plugin_names(self) -> tuple[str, ...]:
        """No kind of data makes the tab appear by itself: `is_active` looks for a loss."""
        return ()

    def is_active(self) -> bool:
        """Whether a run with a training loss is there."""
        try:
            return bool(self._listed(RequestContext(), ""))
        except BaseException as error:
            self._log(error)
            return False

    def _listed(self, context: Any, experiment: str) -> list[str]:
        """The runs with a training loss, the newest first; what lossdoctor writes for TensorBoard is no run of its own."""
        tags = self._provider.list_scalars(context, experiment_id=experiment, plugin_name="scalars")
        runs = [run for run, found in tags.items() if any(map(self._is_loss, found)) and not _ours(run)]
        return newest_first(self._provider.list_runs(context, experiment_id=experiment), runs)

    def _is_loss(self, tag: str) -> bool:
        """As lossdoctor reads it; where that cannot be asked any will do, and the tab says what is wrong."""
        if self._column is None:
            try:
                from lossdoctor.parsing.column_names import column as known

                self._column = known
            except BaseException as error:
                self._log(error)
                self._column = lambda tag: LOSSES[0]
        return self._column(tag) in LOSSES

    def _guarded(self, route: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """A route whose failure is a message."""

        def answer(request: Request) -> Any:
            try:
                return route(request)
            except BaseException as error:  # also SystemExit, which would end the thread that answers
                return Respond(request, {"message": self._log(error)}, "application/json")

        return answer

    def _log(self, error: BaseException) -> str:
        """What went wrong, in a line that is logged the first time."""
        if type(error).__name__ in PLAIN:
            message = str(error)
        elif isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == "lossdoctor":
            message = "lossdoctor is not installed where TensorBoard runs, or too old: pip install --upgrade lossdoctor"
        else:
            message = f"The report could not be made: {type(error).__name__}: {error}"
        if message not in self._said and len(self._said) < 100:
            self._said.add(message)
            logger.error("%s", message)
        return message

    def _index(self, request: Request) -> Any:
        return Respond(request, self._script, "text/javascript")

    def _runs(self, request: Request) -> Any:
        runs = self._listed(context_of(request.environ), experiment_id(request.environ))
        return Respond(request, {"runs": runs}, "application/json")

    def _state(self, request: Request) -> Any:
        """What tells whether the report on a run has changed."""
        page, _ = self._page(request)
        return Respond(request, {"version": sha256(page.encode()).hexdigest()[:16]}, "application/json")

    def _report(self, request: Request) -> Any:
        page, script = self._page(request)
        allowed = [b64encode(sha256(script.encode()).digest()).decode()]
        return Respond(request, page, "text/html", csp_scripts_sha256s=allowed)

    def _page(self, request: Request) -> tuple[str, str]:
        """The page on a run, and its script; only for a run that TensorBoard lists."""
        run, context, experiment = request.args.get("run", ""), context_of(request.environ), experiment_id(request.environ)
        if run not in self._listed(context, experiment):
            raise NotFoundError(f"no run {run!r} with a training loss")
        return self._pages.of(run, context, experiment)


def _ours(run: str) -> bool:
    return run.replace("\\", "/").split("/")[-2:-1] == ["lossdoctor"]
