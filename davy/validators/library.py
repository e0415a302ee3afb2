"""The models a validator can run again: folders on its own disk, found by the digests of a manifest's files."""

from __future__ import annotations

from pathlib import Path

from davy.protocol.errors import Misconfigured
from davy.protocol.manifest import Manifest
from davy.tasks.identity import read_calibration
from davy.tasks.reexecution import FORMAT, Reexecution, check_files
from davy.validators.identity import Known

CALIBRATION = "calibration.json"
_MAKE = "python -m davy.tasks.calibrate FOLDER"


class Library:
    """A folder of model folders; each holds safetensors and the calibration that says what an honest run looks like."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise Misconfigured(f"there is no folder {root}; name one with a folder for each model")
        self._folders = sorted(p.parent for p in root.glob(f"*/{CALIBRATION}"))

    def load(self, manifest: Manifest) -> Known | None:
        """Load the model whose files the manifest lists; None when no folder holds exactly them. Takes seconds."""
        if manifest.format != FORMAT:
            return None
        for folder in self._folders:
            try:
                check_files(folder, manifest)
            except Misconfigured:
                continue
            calibration = read_calibration((folder / CALIBRATION).read_bytes())
            if bytes.fromhex(calibration.weights) not in {f.digest for f in manifest.files}:
                raise Misconfigured(f"{folder / CALIBRATION} is of other weights; make it anew: {_MAKE}")
            return Known(Reexecution(folder, manifest), calibration)
        return None

    def kinship(self) -> float:
        """The distance in nats below which two miners' answers count as one model's: the least of all."""
        found = [read_calibration((f / CALIBRATION).read_bytes()).kinship for f in self._folders]
        if not found:
            raise Misconfigured(f"no model folder here has a {CALIBRATION}; make it: {_MAKE}")
        return min(found)
