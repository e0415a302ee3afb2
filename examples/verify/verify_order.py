"""Verify an order of the keyholders, given a chain's genesis and nothing else."""

import hashlib
import sys
from pathlib import Path

from msgspec import msgpack
from nacl.signing import VerifyKey

genesis, signed = (Path(name).read_bytes() for name in sys.argv[1:3])
chain = hashlib.sha256(b"davy/genesis\0" + genesis).digest()
(roster,) = msgpack.decode(genesis)[-1]
_, order, (signature,) = msgpack.decode(signed)
_, of_chain, epoch, _, action, *_ = msgpack.decode(order)
if (of_chain, epoch) != (chain, roster[1]):
    sys.exit("this order is for another chain or roster")
by_halt = action[0] in ("extend", "drill", "raise", "heartbeat") or (action[0], action[-1]) == ("halt", "halt")
VerifyKey(roster[2] if by_halt else roster[3]).verify(b"davy/brake-order\0" + order, signature)
print(f"chain {chain.hex()}: {action[0]} {hashlib.sha256(b'davy/brake-order' + bytes(1) + order).hexdigest()}")
