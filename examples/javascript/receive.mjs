// Receive: pull, open (HPKE), verify, decode (Avro), acknowledge. Node 20 and its own crypto; nothing is installed.
//
//     node receive.mjs http://127.0.0.1:8470        in a folder with town.key and api.token
//
// The numbers are those of protocol 7. It knows X25519 and Ed25519; a town that gets more kinds of keys adds them here.
import { createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman, timingSafeEqual, verify } from "node:crypto";
import { readFileSync, writeFileSync, existsSync } from "node:fs";
import { decode, Reader, LOCKED, MANIFEST, STATEMENT, KEY_RELEASE, RELEASES, sealedSet } from "./avro.mjs";

const TOWN = "urn:fr:siret:21350238800019";
const [address] = process.argv.slice(2);
const token = readFileSync("api.token", "utf8").trim();
const [kind, secret] = readFileSync("town.key", "utf8").trim().split(" ");
if (kind !== "x25519") throw new Error("this example opens with x25519");

const cat = (...parts) => Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)));
const u16 = (value) => { const out = Buffer.alloc(2); out.writeUInt16BE(value); return out; };
const u32 = (value) => { const out = Buffer.alloc(4); out.writeUInt32BE(value); return out; };
const sha256 = (...parts) => createHash("sha256").update(cat(...parts)).digest();
const same = (a, b) => a.length === b.length && timingSafeEqual(a, b);
const hex = (text) => Buffer.from(text, "hex");
const check = (holds, step) => { if (!holds) throw new Error(`refused at step ${step}`); };

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const answer = await fetch(address + path, { method, headers, body: body && JSON.stringify(body), redirect: "error" });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return Buffer.from(await answer.arrayBuffer());
}
const json = async (...call) => JSON.parse(await ask(...call));

// The directory of the first day is the one that is believed; a newer one is for a person to compare.
if (!existsSync("directory.json")) writeFileSync("directory.json", await ask("GET", "/v1/directory"));
const directory = JSON.parse(readFileSync("directory.json", "utf8"));

// RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
const raw = hex(secret);
const mine = createPrivateKey({ key: cat(hex("302e020100300506032b656e04220420"), raw), format: "der", type: "pkcs8" });
const myPublic = createPublicKey(mine).export({ format: "der", type: "spki" }).subarray(-32);
const KEM = cat("KEM", u16(0x20)), SUITE = cat("HPKE", u16(0x20), u16(1), u16(2));
const extract = (suite, salt, label, ikm) => createHmac("sha256", salt).update(cat("HPKE-v1", suite, label, ikm)).digest();
function expand(suite, prk, label, info, length) {
  let block = Buffer.alloc(0), out = Buffer.alloc(0);
  const labelled = cat(u16(length), "HPKE-v1", suite, label, info);
  for (let n = 1; out.length < length; n++) {
    block = createHmac("sha256", prk).update(cat(block, labelled, Buffer.from([n]))).digest();
    out = cat(out, block);
  }
  return out.subarray(0, length);
}
function hpkeOpen(sealed, info) {
  const enc = sealed.subarray(0, 32), empty = Buffer.alloc(0);
  const theirs = createPublicKey({ key: cat(hex("302a300506032b656e032100"), enc), format: "der", type: "spki" });
  const dh = diffieHellman({ privateKey: mine, publicKey: theirs });
  check(dh.some((byte) => byte !== 0), "HPKE");
  const shared = expand(KEM, extract(KEM, empty, "eae_prk", dh), "shared_secret", cat(enc, myPublic), 32);
  const context = cat(Buffer.from([0]), extract(SUITE, empty, "psk_id_hash", empty), extract(SUITE, empty, "info_hash", info));
  const prk = extract(SUITE, shared, "secret", empty);
  return gcmOpen(expand(SUITE, prk, "key", context, 32), expand(SUITE, prk, "base_nonce", context, 12), sealed.subarray(32), empty);
}
function gcmOpen(key, nonce, sealed, aad) {
  const open = createDecipheriv("aes-256-gcm", key, nonce).setAAD(aad).setAuthTag(sealed.subarray(-16));
  return cat(open.update(sealed.subarray(0, -16)), open.final());
}

function signed(kid, type, body, signature, at) {
  const key = directory.signing.find((one) => one.kid === kid.toString("hex")); // 2 what the directory says, no message
  check(key && key.algorithm === 1 && key.valid_from <= at(), 2);
  check((key.valid_to === null || at() <= key.valid_to) && (key.revoked_at === null || at() < key.revoked_at), 2);
  const pae = cat(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${body.length} `, body); // 1 the type that is expected
  const spki = cat(hex("302a300506032b6570032100"), hex(key.public));
  check(verify(null, pae, createPublicKey({ key: spki, format: "der", type: "spki" }), signature), 3);
  return key.party;
}

async function opened(locked, release) {
  check(locked.signatures.length === 1, 3); // policy 1: one Ed25519
  const manifest = decode(MANIFEST, locked.payload); // 4; read to know its instant, believed after the next line
  const at = () => Number(manifest.issued_at);
  const [one] = locked.signatures;
  const source = signed(one.kid, "application/vnd.unefois.manifest.v1+avro", locked.payload, one.signature, at);
  const right = directory.rights.some((each) => each.party === source && each.event_type === manifest.event_type && each.valid_from <= at() && (each.valid_to === null || at() <= each.valid_to));
  check(source === manifest.source && same(one.kid, manifest.signer) && right, 5);
  check(Date.now() <= Number(manifest.not_after) && at() <= Date.now() + 300_000, 5);
  const schemaBytes = await ask("GET", `/v1/schemas/${manifest.schema.toString("hex")}`);
  check(same(sha256(schemaBytes), manifest.schema), 6);
  const schema = JSON.parse(schemaBytes);
  check(manifest.digests.length === 32 * schema.fields.length, 6);

  const statement = decode(STATEMENT, release.statement);
  const by = signed(release.kid, "application/vnd.unefois.statement.v1+avro", release.statement, release.signature, () => Number(statement.released_at));
  check(by === directory.broker && statement.recipient === TOWN && locked.recipient === TOWN, 7);
  check(same(statement.manifest, sha256(locked.payload)) && same(statement.delivery_id, locked.delivery_id), 7);
  check(same(statement.declaration_id, manifest.declaration_id) && same(statement.grant_id, locked.grant_id), 7);
  check(same(statement.sealed, sha256("unefois/sealed-set/v1\0", sealedSet(locked.fields))), 7);

  const record = {};
  check(release.keys.length === locked.fields.length, 8);
  const bits = Buffer.alloc(statement.fields.length);
  for (const { index } of locked.fields) bits[index >> 3] |= 0x80 >> (index & 7);
  check(same(bits, statement.fields), 8);
  locked.fields.forEach(({ index, sealed }, number) => {
    const digest = manifest.digests.subarray(32 * index, 32 * index + 32);
    const aad = cat("unefois/sealed-field/v1\0", manifest.declaration_id, u16(index), digest);
    const padded = gcmOpen(release.keys[number], Buffer.alloc(12), sealed, aad);
    const plain = padded.subarray(4, 4 + padded.readUInt32BE(0));
    const [salt, value] = [plain.subarray(0, 16), plain.subarray(16)];
    const { name, type } = schema.fields[index];
    check(same(digest, sha256("unefois/field/v1\0", salt, u16(index), u16(name.length), name, u32(value.length), value)), 8);
    record[name] = new Reader(value, schema).whole(type); // 9 and no byte after it
  });
  return record; // 10 whether it came before is for your own table: keep (source, declaration_id, SHA-256 of the manifest)
}

const pulled = await json("POST", "/v1/deliveries:pull", { max: 10, wait: 20 });
if (pulled.deliveries.length === 0) process.exit(0);
const locked = pulled.deliveries.map((one) => decode(LOCKED, Buffer.from(one.locked, "base64url")));
const sealed = decode(KEY_RELEASE, Buffer.from(pulled.key_release, "base64url"));
const info = cat("unefois/release/v1\0", u16(0x20), sealed.recipient_kid, sha256(...locked.map((one) => one.delivery_id)));
const { releases } = decode(RELEASES, hpkeOpen(sealed.sealed, info));
for (const [number, each] of locked.entries()) {
  const record = await opened(each, releases[number]);
  console.log(record.subject.family_name, "moves to", record.new_address.city, "old_commune" in record ? "" : "(old commune: not told)");
}
const acknowledgements = pulled.deliveries.map((one) => ({ delivery: one.id, outcome: "applied" }));
const { results } = await json("POST", "/v1/deliveries:ack", { acknowledgements });
console.log(results.every((one) => one.ok) ? "acknowledged" : JSON.stringify(results));
