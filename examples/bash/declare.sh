#!/usr/bin/env bash
# Declare through the signing sidecar, and verify by hand that the broker has signed for it. Needs curl, jq, openssl.
#
#     ./declare.sh SIDECAR LOCAL-TOKEN-FILE BROKER API-TOKEN-FILE MOVE.json NUMBER-OF-YOURS
set -euo pipefail
sidecar=$1 local_token=$2 broker=$3 api_token=$4 move=$5 number=$6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077

# A token on the command line is seen by everybody on the machine; in a file it is not.
printf 'Authorization: Bearer %s\n' "$(cat "$local_token")" > "$work/local"
printf 'Authorization: Bearer %s\n' "$(cat "$api_token")" > "$work/api"

# 1. Plain facts to the sidecar on this machine. The same number again says nothing twice.
curl -s --fail-with-body -H @"$work/local" -H "Idempotency-Key: $number" -H 'Content-Type: application/json' \
  --data-binary @"$move" "$sidecar/v1/declarations" > "$work/answer.json" || { jq . "$work/answer.json"; exit 1; }
jq -r '"declaration \(.declaration) is \(.state)"' "$work/answer.json"
[ "$(jq -r .state "$work/answer.json")" = received ] || exit 0   # the broker is away; the sidecar goes on

# 2. The receipt: what was signed, by which key, and the signature.
jq -r .receipt.payload "$work/answer.json" | base64 -d > "$work/payload"
jq -r '.receipt.signatures[0].sig' "$work/answer.json" | base64 -d > "$work/signature"
type=$(jq -r .receipt.payloadType "$work/answer.json")
kid=$(jq -r '.receipt.signatures[0].keyid' "$work/answer.json")
[ "$type" = application/vnd.unefois.intake-receipt.v1+json ] || { echo 'another kind of document'; exit 1; }

# 3. The broker's public key from the directory, which you pin; a kid is the hash of algorithm and key.
curl -s --fail -H @"$work/api" "$broker/v1/directory" > "$work/directory.json"
jq -e --arg kid "$kid" '. as $d | .signing[] | select(.kid == $kid and .party == $d.broker and .algorithm == 1)' \
  "$work/directory.json" > "$work/key.json" || { echo 'not a key of the broker'; exit 1; }
bytes() { sed 's/../\\x&/g'; }
public=$(jq -r .public "$work/key.json")
[ "$(printf "$(printf '01%s' "$public" | bytes)" | sha256sum | cut -d' ' -f1)" = "$kid" ] || { echo 'a false kid'; exit 1; }
printf "$(printf '302a300506032b6570032100%s' "$public" | bytes)" > "$work/public.der"

# 4. DSSE signs this: DSSEv1, the type with its length, the payload with its length.
{ printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(stat -c %s "$work/payload")"; cat "$work/payload"; } > "$work/message"
openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/public.der" -rawin -in "$work/message" -sigfile "$work/signature"

# 5. And it is about this declaration.
[ "$(jq -r .declaration "$work/payload")" = "$(jq -r .declaration "$work/answer.json" | tr -d -)" ] || { echo 'another declaration'; exit 1; }
jq -r '"the broker has it since \(.received_at / 1000 | todate)"' "$work/payload"
