"""Who does something, where nobody says: a log of decisions names them."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable


def this_user() -> str:
    """This user and machine, `anna@host`; `unknown` for what the machine does not know.

    In a container users often have a number and no name.
    """

    def known(ask: Callable[[], str]) -> str:
        try:
            return ask()
        except (OSError, KeyError, ImportError):
            return "unknown"

    return f"{known(getpass.getuser)}@{known(socket.gethostname)}"
