"""The application in a worker of `verve serve`: the installed one, with its configuration.

Granian looks for an application in the working directory first, and puts that directory before all
others where modules are imported from; and each worker would read the settings again. Here a worker
imports the application of the installed package, and gets the configuration that its parent has
read: through the memory that it is forked with or, where workers are spawned, through the pipe that
Python starts them by. So no secret is in an argument, in the environment or on a disk.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verve.app import App
    from verve.startup.configuration import Configuration

TARGET = "verve.app:app"


@dataclass(frozen=True, slots=True)
class Application:
    """A target loader of Granian: loads the application in a worker."""

    configuration: Configuration

    def __call__(self, _target: str) -> App:
        """The application of this process; threads that share the process share it."""
        from verve.app import app  # noqa: PLC0415 - the parent does not serve

        app.worker.configuration = self.configuration
        return app


class _Installed:
    """Methods that override those of Granian's server class."""

    application: Application
    path: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Granian's own
        # Granian's command has just put the working directory first.
        sys.path[:] = self.path
        super().__init__(*args, **kwargs)

    def serve(self) -> None:
        super().serve(target_loader=self.application)  # type: ignore[misc]


def installed(server: type[Any], configuration: Configuration) -> type[Any]:
    """The server class; it serves the installed application with this configuration."""
    # A worker that is spawned begins as `python -c`, which looks in the working directory first.
    os.environ["PYTHONSAFEPATH"] = "1"
    names = {"application": Application(configuration), "path": sys.path.copy()}
    return type("Installed", (_Installed, server), names)
