"""A row in a table of attacks, and how every row is judged."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from davy.killswitch.group import Identifier
from davy.protocol.errors import Refused


class Attack(NamedTuple):
    """Something wrong in one place; `run` must be refused so, and name these culprits where it can."""

    name: str
    run: Callable[[], object]
    error: type[Refused]
    culprits: tuple[Identifier, ...] = ()

    def is_refused(self) -> None:
        with pytest.raises(self.error) as refused:
            self.run()
        assert type(refused.value) is self.error
        assert getattr(refused.value, "culprits", ()) == self.culprits
        message = str(refused.value)
        assert "\n" not in message
        assert 20 < len(message) < 300
