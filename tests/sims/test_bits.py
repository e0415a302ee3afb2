"""However a simulation is played, it gives the bits it gave: what is faster must not find anything else.

Where a change is meant, raise `experiment.REVISION`, and take what this prints.
"""

import hashlib

import pytest

from davy.sims import run, scenario, scenarios

SMALL = {"market.validators": 7, "market.miners": 13, "start": 8, "epochs": 5, "runs": 2}
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in scenarios()},
    "a cartel under yuma2": ("cartel", {"mechanism": "yuma2"}),
    "a cartel under audits": ("cartel", {"mechanism": "audited", "market.window": 3}),
    "a cartel and correlated agreement": ("cartel", {"mechanism": "correlated", "market.window": 3}),
    "a cartel under liquid alpha": ("cartel", {"params.liquid_alpha": True}),
    "a cartel in loud noise": ("cartel", {"market.noise": 1.0}),
    "a cartel and no churn": ("cartel", {"market.churn": 0.0}),
    "copies of the average": ("weight-copying", {"attack.source": "average", "attack.lag": 2}),
    "old copies under audits": ("weight-copying", {"mechanism": "audited", "attack.lag": 2}),
    "front-running of old rows": ("front-running-reveals", {"attack.lag": 1, "attack.waited": 0.5}),
    "a frozen row": ("lazy-constant", {"attack.row": "frozen"}),
    "shared work": ("shared-noise", {"attack.informed": True}),
    "no reveal at all": ("commit-without-reveal", {"attack.apart": 0.0, "market.unrevealed_penalty": 9_000}),
    "stake moved at once": ("stake-grinding", {"attack.rule": "snapshot"}),
    "children at once": ("child-key-shuffling", {"attack.rule": "at-once"}),
    "noisy sybils": ("sybils", {"attack.jitter": 0.2}),
    "two faces looked at": ("selective-quality", {"attack.looked_at": 3}),
    "two faces under audits": ("selective-quality", {"attack.looked_at": 3, "mechanism": "audited"}),
    "old seats, with few permits": ("cartel", {"params.max_validators": 5, "params.bond_penalty": 30_000}),
}


def digest(variant: str) -> str:
    """Of all numbers, with open weights and with two lengths of concealment."""
    name, changes = VARIANTS[variant]
    found = hashlib.sha256()
    for concealment in (0, 1, 3):
        s = scenario(name).having(SMALL | {"market.concealment": concealment} | changes)
        found.update(run(s).numbers.astype("<i8").tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_no_bit_has_changed(variant: str) -> None:
    assert digest(variant) == BITS[variant]


BITS: dict[str, str] = {
    "honest": "3c6ecaf03756cbe6",
    "cartel": "3f166e30cf9700aa",
    "self-dealing": "3707c9feea7849ce",
    "weight-copying": "42fe90bc1d734dbd",
    "front-running-reveals": "db1e295ffca4a0bc",
    "lazy-constant": "ac356b2ec3c2ae60",
    "lazy-random": "6432589ae4bb2619",
    "shared-noise": "c07d813799ef2271",
    "under-weighing": "be486e6e1a39fc8a",
    "commit-without-reveal": "9abc570056b0cb84",
    "stake-grinding": "62e24cbd08b34ab7",
    "child-key-shuffling": "0d563783b7cd3558",
    "sybils": "64c11a46354baa28",
    "relaying": "dfd0a82d06526ed2",
    "selective-quality": "77e798b77f0f51d3",
    "caching": "b5f04637253dce27",
    "timing": "48db7abd51260d89",
    "false-halts": "b86a819fe03d64ea",
    "refusing-to-lift": "1c711250fd7d9850",
    "silence-under-leases": "8eb58157b1c3ed75",
    "a cartel under yuma2": "bc5c2eec79017aa6",
    "a cartel under audits": "c3a3c8788a04f8c8",
    "a cartel and correlated agreement": "cca84044f56d5c57",
    "a cartel under liquid alpha": "fdaf958a711372ce",
    "a cartel in loud noise": "c333f1fc8743638f",
    "a cartel and no churn": "99a7273fba02c14c",
    "copies of the average": "107539f1370420ba",
    "old copies under audits": "0eb35b8033824bb6",
    "front-running of old rows": "86d40cc2fbdd5671",
    "a frozen row": "6b629ea414bd420f",
    "shared work": "165bf6d0e62477f4",
    "no reveal at all": "8d328218fe82c16c",
    "stake moved at once": "85170428a7a909cf",
    "children at once": "7850c3d5a32f1221",
    "noisy sybils": "3e15f9b6f6d0cd2e",
    "two faces looked at": "74739f59c65b20eb",
    "two faces under audits": "cb6015cb9342d9b0",
    "old seats, with few permits": "55d2624d72339e26",
}
