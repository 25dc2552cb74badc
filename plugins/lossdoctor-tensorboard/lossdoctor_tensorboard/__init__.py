"""A tab in TensorBoard with lossdoctor's report on the chosen run.

TensorBoard loads this module when it starts, and an error here would keep it from starting: nothing else is imported before
it asks for the tab, and whatever fails then leaves the tab out.
"""

from __future__ import annotations

import logging
from typing import Any

try:
    from tensorboard.plugins.base_plugin import TBLoader
except BaseException:  # not the TensorBoard that we know: it will refuse the class, or never look at it
    TBLoader = object

__all__ = ["Loader"]


class Loader(TBLoader):  # type: ignore[misc]
    """Makes the tab when TensorBoard starts."""

    def load(self, context: Any) -> Any:
        """The tab, or None where it cannot be made: TensorBoard goes on without."""
        try:
            from lossdoctor_tensorboard.tab import Tab

            return Tab(context)
        except BaseException as error:
            logging.getLogger("lossdoctor").error("no LossDoctor tab: %s: %s", type(error).__name__, error)
            return None
