"""A keyholder signs with what the base installs: the threshold modules load PyNaCl, msgspec and nothing else."""

import json
import subprocess
import sys

LOADED_BY = """
import json, sys
before = set(sys.modules)
import davy.killswitch.echo, davy.killswitch.frost
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_signing_and_making_keys_need_two_packages() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED_BY], capture_output=True, text=True, check=True)
    foreign = set(json.loads(done.stdout)) - set(sys.stdlib_module_names)
    assert {"davy", "msgspec", "nacl"} <= foreign
    # the second line is what PyNaCl and msgspec bring along
    assert foreign <= {"davy", "msgspec", "nacl"} | {"_cffi_backend", "_sodium", "cffi", "typing_extensions"}
