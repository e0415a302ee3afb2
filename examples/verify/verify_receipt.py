"""Verify a miner's receipt, given a chain's genesis and nothing else."""

import hashlib
import sys
from pathlib import Path

from msgspec import msgpack
from nacl.signing import VerifyKey

genesis, signed = (Path(name).read_bytes() for name in sys.argv[1:3])
chain = hashlib.sha256(b"davy/genesis\0" + genesis).digest()
_, receipt, signature = msgpack.decode(signed)
_, of_chain, miner, _, request, _, _, model, *_ = msgpack.decode(receipt)
if of_chain != chain:
    sys.exit("this receipt is for another chain")
VerifyKey(miner).verify(b"davy/receipt\0" + receipt, signature)
print(f"chain {chain.hex()}: miner {miner.hex()} answered {request.hex()} with {model.hex()}")
