"""One connection of the sender: several requests at once, then their answers in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.torture.load.answers import Answer, AnswerError, Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 6.0
"""Seconds to wait for a connection, and for the answers to what was sent."""


class Connection:
    """Opened when it is needed, and given up with any trouble."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._parser = Parser()

    async def exchange(self, requests: Sequence[bytes]) -> tuple[list[Answer], str | None, bool]:
        """Send them.

        Returns the answers that came, why not all did, and whether anything was sent.
        """
        answers: list[Answer] = []
        is_sent = False
        try:
            async with asyncio.timeout(PATIENCE):
                if self._streams is None:
                    self._parser = Parser()
                    self._streams = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self._streams
                is_sent = True
                writer.write(b"".join(requests))
                await writer.drain()
                while len(answers) < len(requests):
                    data = await reader.read(1 << 18)
                    if not data:
                        self.close()
                        return answers, "closed", is_sent
                    answers += self._parser.feed(data)
        except TimeoutError:
            self.close()
            return answers, "timeout", is_sent
        except OSError as error:
            self.close()
            return answers, type(error).__name__, is_sent
        except AnswerError as error:
            self.close()
            return answers, f"no answer: {error}", is_sent
        return answers, None, is_sent

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
