"""The command `verve`. It prints data to standard output, and messages to standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from verve import config
from verve._verve import VerveError
from verve.config import table as config_table
from verve.log import event_log
from verve.printable import printable, shortened

from . import drain, readiness, segment_files, streams
from .archive import archive
from .completion import completion
from .distinct import distinct
from .options import REDIS_SETTINGS, settings_from, with_limit, with_settings
from .size import size
from .window_list import windows

if TYPE_CHECKING:
    from verve.config import Settings

_LONGEST_MESSAGE = 2_000
_BY_FLAG = ParameterSource.COMMANDLINE


class Group(click.Group):
    """The command group: prints Verve's errors as an error line and a hint line."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command line; the standard streams may be closed or full."""
        streams.prepare()
        try:
            try:
                return super().main(*args, **extra)
            finally:
                # Here a full disk is an error message; at the interpreter's exit it is a traceback.
                streams.flush()
        except BrokenPipeError:
            # The reader of the output exited early, as `head` does.
            streams.drop_output()
            raise SystemExit(0) from None
        except OSError as error:
            if error.errno not in streams.OUTPUT_ERRORS:
                raise
            streams.drop_output()
            fail(f"cannot write the output: {error.strerror}")

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except VerveError as error:
            fail(str(error))
        except BrokenPipeError:
            # As in `main`; click would make status 1 of it.
            streams.drop_output()
            raise SystemExit(0) from None
        except OSError as error:
            if error.filename is None:
                raise
            fail(f"cannot use the file: {error.strerror}: `{os.fsdecode(error.filename)}`")


def fail(message: str) -> NoReturn:
    """Print an error message, with its hint on a line of its own, and exit with status 1.

    A message quotes text from files and from the network: this escapes it and limits its length.
    """
    problem, *hints = re.split(r"(?:; |\n)hint: ", message, maxsplit=1)
    click.secho("error", fg="red", bold=True, err=True, nl=False, color=_colour())
    click.echo(f": {shortened(problem, _LONGEST_MESSAGE)}", err=True)
    for hint in hints:
        click.echo(f"  hint: {shortened(hint, _LONGEST_MESSAGE)}", err=True)
    raise SystemExit(1)


def _colour() -> bool:
    return event_log.wants_colour()


# The help texts are arguments: `python -OO` removes docstrings.
@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Verve counts distinct ids per minute, exactly.",
)
@click.version_option(version=None, package_name="verve-counter", message="%(prog)s %(version)s")
def main() -> None:
    """Verve counts distinct ids per minute, exactly."""


def _print_versions(context: click.Context, _option: click.Parameter, given: bool) -> None:  # noqa: FBT001 - click's own
    """Print the versions of Verve and of Granian, and end."""
    if given:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

        click.echo(f"verve {version('verve-counter')}\ngranian {version('granian')}")
        context.exit()


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
    help="Serve `GET /api/verve/accept` with Granian.",
    epilog="Verve passes other options to Granian: `granian --help` lists them.",
)
@with_settings()
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Show the versions of Verve and of Granian, and exit.",
)
@click.argument("granian", nargs=-1, type=click.UNPROCESSED)
def serve(granian: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Serve `GET /api/verve/accept` with Granian."""
    from verve.serving import serve as service  # noqa: PLC0415 - needs Granian, the other commands do not

    known = service.known_flags()
    for argument in granian:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            ours = [row.flag for row in config.TABLE.values()]
            raise config.unknown(flag, "flag", [*ours, *known])
    settings = config.load(
        {
            name.removeprefix("setting_"): value
            for name, value in options.items()
            if value is not None
        }
    )
    event_log.configure(settings)
    service.serve(settings, granian)


@main.command(help="Check that the service is ready and its files are sound. Exit status 0 or 1.")
@with_settings(
    (
        *("config", "host", "port", "admin_listen", "window", "state_dir", "segment"),
        *REDIS_SETTINGS,
        *("sinks", "kafka_brokers", "kafka_topic", "archive", "admin_token"),
    ),
    without=("cluster",),
)
@click.option("--url", help="URL of the service. Default: its host and port on this machine.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=readiness.LONGEST_TIMEOUT),
    metavar="S",
    default=readiness.DEFAULT_TIMEOUT,
    show_default=True,
    help="Seconds to wait for an answer.",
)
@click.option(
    "--ready",
    is_flag=True,
    help="Only ask the service once whether it is ready, as a health check does. It is ready while "
    "Kafka or Redis is away.",
)
@click.option(
    "--uds",
    metavar="FILE",
    envvar=readiness.UDS_VARIABLE,
    help="With --ready: ask at this Unix socket, which verve serve has by the same option.",
)
@click.option(
    "--at-admin", is_flag=True, help="With --ready: ask at the address of --admin-listen."
)
@click.option(
    "--cluster",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Check all hosts of a cluster through Redis instead. Default: this host's cluster.",
)
@click.option("--json", "as_json", is_flag=True, help="With --cluster: print one JSON object.")
@click.option("--forget", metavar="HOST", help="With --cluster: remove the line of a dead host.")
def check(  # noqa: PLR0913 - one per option
    *,
    url: str | None,
    timeout: float,
    ready: bool,
    uds: str | None,
    at_admin: bool,
    cluster: str | None,
    as_json: bool,
    forget: str | None,
    **options: Any,  # noqa: ANN401 - see with_settings
) -> None:
    """Check that the service is ready and its files are sound. Exit status 0 or 1."""
    if ready:
        if cluster is not None or as_json or forget is not None:
            raise click.UsageError("--ready excludes --cluster, --json and --forget")
        _check_ready(settings_from(options), url, uds, timeout, admin=at_admin)
    if at_admin or click.get_current_context().get_parameter_source("uds") is _BY_FLAG:
        raise click.UsageError("--uds and --at-admin require --ready")
    if cluster is not None:
        settings = settings_from({**options, "setting_cluster": cluster or None})
        _check_cluster(settings, forget, as_json=as_json)
    if as_json or forget is not None:
        raise click.UsageError("--json and --forget require --cluster")
    from .check import examine  # noqa: PLC0415 - needs httpx, the other commands do not

    findings = list(examine(settings_from(options), url, timeout))
    for finding in findings:
        mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
        if finding.warns:
            mark = click.style("warn", fg="yellow")
        detail = printable(finding.detail)
        click.echo(f"{mark} {finding.part:<8} {detail}", color=_colour() or None)
    raise SystemExit(0 if all(finding.ok for finding in findings) else 1)


def _check_ready(
    settings: Settings, url: str | None, uds: str | None, timeout: float, *, admin: bool
) -> NoReturn:
    by_flag = click.get_current_context().get_parameter_source("uds") is _BY_FLAG
    if sum([url is not None, by_flag, admin]) > 1:
        raise click.UsageError("--url, --uds and --at-admin exclude each other")
    if not 0 < timeout < float("inf"):
        raise click.UsageError("--timeout is no number of seconds above 0")
    if admin:
        if settings.admin_listen is None:
            raise click.UsageError("--at-admin requires --admin-listen or VERVE_ADMIN_LISTEN")
        host, _, port = settings.admin_listen.rpartition(":")
        url = readiness.address_of(host, port)
    elif url is None and not uds:
        url = readiness.address_of(settings.host, settings.port)
    status, text = readiness.check(url, uds or "", timeout)
    click.echo(text)
    raise SystemExit(status)


def _check_cluster(settings: Settings, forget: str | None, *, as_json: bool) -> NoReturn:
    from . import cluster_view  # noqa: PLC0415 - needs redis, the other commands do not

    if forget is not None:
        click.echo(f"forgot {cluster_view.forget(settings, forget)}")
        raise SystemExit(0)
    view = cluster_view.look(settings)
    if as_json:
        click.echo(json.dumps(view.as_json()))
    else:
        for line in cluster_view.lines(view):
            click.echo(printable(line))
    for warning in view.warnings:
        click.echo(f"warning: {printable(warning)}", err=True)
    raise SystemExit(1 if view.warnings else 0)


main.add_command(drain.drain)
main.add_command(windows)
main.add_command(distinct)
main.add_command(archive)


@main.command(
    "config",
    help="Print the settings in effect and the source of each. Secrets are masked.",
)
@with_settings()
@click.option("--toml", "form", flag_value="toml", help="Print a TOML file.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the table for the docs.")
def show_config(form: str | None, **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Print the settings in effect and the source of each. Secrets are masked."""
    if form == "markdown":
        click.echo(config_table.markdown())
        return
    settings = settings_from(options)
    click.echo(config_table.toml(settings) if form else config_table.effective(settings))


@main.group(help="Inspect, list and remove segments, the files that processes count in.")
def segment() -> None:
    """Inspect, list and remove segments, the files that processes count in."""


@segment.command(help="Print the identity and the contents of the segment.")
@with_settings(("config", "state_dir", "segment"))
@click.option("--ids", is_flag=True, help="Print the ids of the current window, one per line.")
def show(*, ids: bool, **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Print the identity and the contents of the segment."""
    from . import segment_view  # noqa: PLC0415 - only this command needs it

    settings = settings_from(options)
    if ids:
        for chunk in segment_view.ids(settings.segment):
            click.echo(chunk, nl=False)
        return
    for name, value in segment_view.figures(settings.segment).items():
        click.echo(f"{name:<22} {printable(str(value))}")


segment.add_command(segment_files.ls)
segment.add_command(segment_files.rm)
main.add_command(completion)
main.add_command(size)


@main.group(help="Send a test callback, and list failed callbacks.")
def callback() -> None:
    """Send a test callback, and list failed callbacks."""


@callback.command(
    "test",
    help="Send one callback to URL; print its addresses, the verdict of the egress policy and the "
    "answer. Exit status 0 or 1.",
)
@with_settings(
    (
        *("config", "callbacks", "callback_allow", "callback_secret", "callback_proxy"),
        *("callback_ca", "callback_certificate", "callback_key"),
    )
)
@click.argument("url")
@click.option(
    "--count", default=0, show_default=True, type=click.IntRange(0), help="Count to report."
)
def callback_test(url: str, count: int, **options: Any) -> None:  # noqa: ANN401 - see with_settings
    """Send one callback to URL, and print its diagnosis. Exit status 0 or 1."""
    from . import callback_view  # noqa: PLC0415 - only this command needs it

    shown, taken = callback_view.test(settings_from(options), url, count)
    for name, value in shown.items():
        click.echo(f"{name:<10} {printable(value)}")
    raise SystemExit(0 if taken else 1)


@callback.command("failed", help="Print recent failed callbacks and the reasons, newest first.")
@with_settings(("config", "state_dir"))
@with_limit("callbacks")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def callback_failed(limit: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - see above
    """Print recent failed callbacks and the reasons, newest first."""
    from . import callback_view  # noqa: PLC0415 - only this command needs it

    found = callback_view.failed(settings_from(options), limit)
    for line in map(json.dumps, found) if as_json else callback_view.lines(found):
        click.echo(printable(line))
    if not found:
        click.echo("no callback has failed", err=True)


@main.command(help="Count the distinct ids in FILE, or in standard input.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("-"))
@click.option(
    "--binary", is_flag=True, help="Read little-endian 64-bit integers, not one id per line."
)
@click.option("--max-ids", default="100M", show_default=True, help="Maximum number of ids.")
def count(file: Path, *, binary: bool, max_ids: str) -> None:
    """Count the distinct ids in FILE, or in standard input."""
    from .count_file import count_distinct  # noqa: PLC0415 - only this command needs it
    from .progress import Progress  # noqa: PLC0415 - as above

    if str(file) == "-":
        if sys.stdin is None:
            fail("there is no standard input; hint: name a file")
        with Progress(sys.stdin.buffer) as progress:
            found = count_distinct(
                sys.stdin.buffer, binary=binary, max_ids=max_ids, tell=progress.tell
            )
        click.echo(found)
        return
    try:
        with file.open("rb") as source, Progress(source) as progress:
            found = count_distinct(source, binary=binary, max_ids=max_ids, tell=progress.tell)
        click.echo(found)
    except OSError as error:
        fail(f"cannot read the file: {error.strerror}: `{file}`")


if __name__ == "__main__":
    main(prog_name="verve")
