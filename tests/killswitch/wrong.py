"""What is no point and no scalar, by the way in which it is none: handed in wherever one is received."""

from nacl import bindings

from davy.killswitch.group import L, Scalar, multiply_base

P = 2**255 - 19
BASE = multiply_base((1).to_bytes(32, "little"))
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def _signed(point: bytes) -> bytes:
    return point[:31] + bytes([point[31] | 0x80])


POINTS = {
    "identity": (1).to_bytes(32, "little"),
    "identity with a sign": _signed((1).to_bytes(32, "little")),
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 4, other": _signed(bytes(32)),
    "order 8": ORDER_8,
    "order 8, other": _signed(ORDER_8),
    "order 8, inverse": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "mixed order": bindings.crypto_core_ed25519_add(BASE, ORDER_8),
    "mixed order 2": bindings.crypto_core_ed25519_add(BASE, (P - 1).to_bytes(32, "little")),
    "y = p": P.to_bytes(32, "little"),
    "y = p + 1": (P + 1).to_bytes(32, "little"),
    "y = p + 3": (P + 3).to_bytes(32, "little"),
    "y = 2^255 − 1": (2**255 - 1).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
    "not on the curve": (2).to_bytes(32, "little"),
    "the crate's invalid element": bytes.fromhex("123456f9e9d319cad973b84cc4c835c8ee73281f5e2638d2d2b352c09edccbfb"),
}


def scalars(right: Scalar) -> dict[str, bytes]:
    """Return second forms of a right scalar, which mean the same to who reduces them, and what is never one."""
    s = int.from_bytes(right, "little")
    return {
        "s + L": (s + L).to_bytes(32, "little"),
        "s + 8 L": (s + 8 * L).to_bytes(32, "little"),
        "high bit set": right[:31] + bytes([right[31] | 0x80]),
        "bit 254 set": right[:31] + bytes([right[31] | 0x40]),
        "L": L.to_bytes(32, "little"),
        "all ones": b"\xff" * 32,
    }
