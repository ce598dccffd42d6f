"""access - callers for the tests: API keys, and JSON Web Tokens made here by
an implementation that is not the server's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cluster import Instance

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ec_key(curve=ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def public_pem(key) -> str:
    return (
        key.public_key()
        .public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        .decode()
    )


def private_pem(key, form=serialization.PrivateFormat.PKCS8) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()
    ).decode()


def signature(alg: str, key, data: bytes) -> bytes:
    """By RFC 7518; key is bytes for HS, a private key for the others."""
    kind, size = alg[:2].upper(), alg[2:]
    if kind == "HS":
        return hmac.new(key, data, f"sha{size}").digest()
    digest = HASHES[size]()
    if kind == "RS":
        return key.sign(data, padding.PKCS1v15(), digest)
    if kind == "PS":
        salt = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return key.sign(data, salt, digest)
    assert kind == "ES"
    size = (key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def encode(header, claims, sign) -> str:
    """A token; sign(bytes) gives its signature."""
    parts = [json.dumps(p).encode() if p is not None else b"" for p in (header, claims)]
    text = ".".join(b64(p) for p in parts)
    return f"{text}.{b64(sign(text.encode()))}"


def claims(**changes) -> dict:
    """Good ones; None leaves one out."""
    now = int(time.time())
    out = {"sub": "ann", "role": "admin", "iat": now, "exp": now + 600}
    out.update(changes)
    return {k: v for k, v in out.items() if v is not None}


def token(alg: str, key, header=None, **changes) -> str:
    head = {"alg": alg, "typ": "JWT"} | (header or {})
    return encode(head, claims(**changes), lambda d: signature(alg, key, d))


def bearer(text: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {text}")]


def new_key(api: Instance, role: str, *more: str) -> str:
    got = api.cli("keys", "create", "--name", f"test {role}", "--role", role, *more)
    assert got.returncode == 0, got.stderr
    return got.stdout.strip()


def key_id(api: Instance, db, key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return str(db[api.database]["_api_keys"].find_one({"hash": digest})["_id"])
