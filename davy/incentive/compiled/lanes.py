"""Tiles of columns, a column a SIMD lane, and what numba would compute in 64 bits, so in half as many lanes."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUntypedFunctionDecorator=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic

U = np.uint64
"""Of offsets; see `arrays`."""
TILE = 64
"""Columns at a time: 64 rows of a tile are half of a first-level cache, and a loop over it is long enough to pay."""
ROW = U(TILE)
BLOCK = 4
"""Tiles at a time: what lies in rows is read and written in runs that are long enough to be fetched ahead."""


@intrinsic
def _shifted(_: Any, number: Any, by: Any) -> Any:
    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.lshr(*arguments)

    return types.int32(types.int32, types.int32), build


shifted = cast("Callable[[int, int], int]", _shifted)
"""number >> by, both int32: number ≥ 0, by < 32."""
