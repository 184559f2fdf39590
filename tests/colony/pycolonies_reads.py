"""Lists, assigns and reads one job of the gateway with the public Python client, and closes it.

Arguments: host, port, colony, private key of an executor, private key for sealed jobs. Prints what was read as JSON.
"""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pycolonies import Colonies


def opened(arg, secret):
    """The bytes in a sealed argument."""
    sealed = json.loads(arg)
    assert sealed["alg"] == "HPKE-0020-0001-0003" and len(sealed["keys"]) == 1, sealed
    decode = base64.b64decode
    wrapped = decode(sealed["keys"][0]["enc"]) + decode(sealed["keys"][0]["key"])
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    content = suite.decrypt(wrapped, X25519PrivateKey.from_private_bytes(secret), info=b"colony-gateway job v1")
    return ChaCha20Poly1305(content).decrypt(bytes(12), decode(sealed["data"]), None)


host, port, colony, key, secret = sys.argv[1:]
client = Colonies(host, int(port))
listed = client.list_processes(colony, 10, Colonies.WAITING, key)
assert len(listed) == 1, listed
process = client.assign(colony, 10, key)
kwargs = process.spec.kwargs
assert all(isinstance(value, str) for value in kwargs.values()), kwargs
attestation = json.loads(kwargs["attestation"])
print(
    json.dumps(
        {
            "process": process.processid,
            "args": process.spec.args,
            "ledger": attestation["ledger"],
            "initiator": process.initiatorid,
            "opened": opened(process.spec.args[0], bytes.fromhex(secret)).decode()
            if kwargs.get("encoding") == "sealed"
            else None,
        }
    )
)
client.close(process.processid, ["read"], key)
