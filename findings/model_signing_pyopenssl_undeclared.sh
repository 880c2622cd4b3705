#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# model-signing cannot be imported as pip installs it: signing by a plain key too imports OpenSSL,
# the module of pyOpenSSL, which neither it nor what it depends on asks for.
#
# model_signing.signing imports every kind of signer at once, those by certificate among them, and
# that one uses pyOpenSSL. Its metadata names cryptography and sigstore; sigstore brought
# pyOpenSSL with it in older releases, and no longer does.
#
# Versions: model-signing 1.1.1, sigstore 4.5.1, pyOpenSSL 26.4.0 where it helps, Python 3.11.
# Output seen:
#   asks for OpenSSL  no
#   as installed      ModuleNotFoundError: No module named 'OpenSSL'
#   with pyOpenSSL    imported
#
# Consequence: install pyOpenSSL beside it. splitc writes and reads the format with cryptography
# alone, and holds it against model-signing in its tests.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install model-signing==1.1.1 sigstore==4.5.1
asks=$("$folder/venv/bin/python" - <<'PY'
from importlib.metadata import requires

names = [line.lower() for part in ("model-signing", "sigstore") for line in requires(part) or []]
print("yes" if any(name.startswith("pyopenssl") for name in names) else "no")
PY
)
seen() { "$folder/venv/bin/python" -c 'import model_signing.signing' 2>&1 | tail -n 1; }
before=$(seen || true)
"$folder/venv/bin/pip" -q install pyopenssl==26.4.0
after=$(seen)
echo "asks for OpenSSL  $asks"
echo "as installed      $before"
echo "with pyOpenSSL    ${after:-imported}"
[ "$asks" = no ]
[ "$before" = "ModuleNotFoundError: No module named 'OpenSSL'" ]
[ -z "$after" ]
