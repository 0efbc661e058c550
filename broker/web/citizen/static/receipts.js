// Receipts, checked in the reader's own browser, as `unefois audit check` and `unefois receipt verify` do.
//
// It talks to nobody: the page that loads it may open no connection, and nothing here tries to. Ed25519, ECDSA and
// SHA-256 are the browser's own (WebCrypto). What it cannot check (an algorithm that the browser lacks, a witness, a
// receipt of the first format) is told as not checked, never as good. Whatever is read is written anew and compared,
// so every byte counts. Sources: docs/protocol.md, sections 8 and 9; c2sp.org/tlog-proof, signed-note, tlog-checkpoint;
// RFC 9162, 2.1.3.2; RFC 8032; DSSE v1.

const utf8 = new TextEncoder();
const HEADER = "c2sp.org/tlog-proof@v1";
const MOST = 1_208_192;
const PAYLOAD_TYPE = "application/vnd.unefois.consent-receipt.v1+json";

/** It is wrong, or somebody changed it: it proves nothing. `code`: which step found it. */
export class Refused extends Error {}
/** It may be right, and this browser cannot tell. */
export class Unchecked extends Error {}

function must(holds, code) {
  if (!holds) throw new Refused(code);
}

// ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const hex = (raw) => Array.from(raw, (one) => one.toString(16).padStart(2, "0")).join("");
const from_hex = (text) => Uint8Array.from(text.match(/../g) ?? [], (one) => parseInt(one, 16));
const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(parts)));

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of parts) {
    whole.set(one, at);
    at += one.length;
  }
  return whole;
}

function base64Of(raw) {
  let text = "";
  for (let at = 0; at < raw.length; at += 8192) text += String.fromCharCode(...raw.subarray(at, at + 8192));
  return btoa(text);
}

/** The bytes, if they are spelled in the one way. */
function fromBase64(text, code) {
  let raw = null;
  try {
    raw = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  } catch {
    must(false, code);
  }
  must(base64Of(raw) === text, code);
  return raw;
}

function decimal(text, code) {
  must(/^(0|[1-9][0-9]{0,18})$/.test(text), code);
  const number = BigInt(text);
  must(number < 1n << 63n, code);
  return number;
}

/** The rest of the Avro that an entry needs: what is read is written again by the same table, and compared. */
class Reader {
  constructor(raw) {
    this.raw = raw;
    this.at = 0;
  }

  take(size) {
    must(size >= 0 && this.at + size <= this.raw.length, "avro");
    this.at += size;
    return this.raw.subarray(this.at - size, this.at);
  }

  long() {
    let number = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const [byte] = this.take(1);
      number |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        must(shift === 0n || byte !== 0, "avro"); // a longer spelling of the same number
        must(number < 1n << 64n, "avro");
        return (number >> 1n) ^ -(number & 1n);
      }
    }
    must(false, "avro");
  }

  value(kind) {
    if (kind.maybe) return this.long_in(2) === 0 ? null : this.value(kind.maybe);
    if (kind.bytes_of) return this.take(kind.bytes_of);
    if (kind.symbols) return kind.symbols[this.long_in(kind.symbols.length)];
    if (kind === "long") return this.long();
    if (kind === "int") {
      const number = this.long();
      must(BigInt.asIntN(32, number) === number, "avro");
      return Number(number);
    }
    const raw = this.take(this.long_in(65_536));
    return kind === "bytes" ? raw : text_of(raw, "avro");
  }

  long_in(limit) {
    const number = this.long();
    must(number >= 0n && number < BigInt(limit), "avro");
    return Number(number);
  }
}

function text_of(raw, code) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    must(false, code);
  }
}

function record(raw, fields) {
  const reader = new Reader(raw);
  const told = Object.fromEntries(Object.entries(fields).map(([name, kind]) => [name, reader.value(kind)]));
  must(reader.at === raw.length, "avro");
  return told;
}

function varint(number) {
  let rest = number >= 0n ? number << 1n : (-number << 1n) - 1n;
  const bytes = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.from([...bytes, Number(rest)]);
}

// ── facts and entries (protocol 8) ────────────────────────────────────────────────────────────────────────────────

const HASH = { bytes_of: 32 };
const ID = { bytes_of: 16 };
const ENTRY_KINDS = ["received", "planned", "released", "closed", "applied", "rejected", "fact", "open"];
const TAGGED = new Set(["planned", "released", "closed", "applied", "rejected"]);
const PLANNED = new Set(["planned", "released"]);
const STEPS = { received: "received", corrected: "received", planned: "planned", released: "released", applied: "applied", rejected: "rejected" };
const TO_REPAIR = new Set(["unknown_person", "several_persons", "document_needed"]);
const PERSONAL = ["declaration", "delivery", "grant", "grant_version", "fields", "subject"];
const PLAN = ["recipient", "event_type", "purpose", "declaration", "delivery", "grant", "grant_version", "fields", "basis"];
const ENTRY = {
  version: "int",
  window: "long",
  kind: { symbols: ENTRY_KINDS },
  tag: { maybe: { bytes_of: 16 } },
  content: { maybe: HASH },
  facts: { maybe: HASH },
  open: { maybe: "bytes" },
};
const OPENING = { blind: HASH, plan_blind: { maybe: HASH }, facts: "bytes" };

function facts_fields(words) {
  const text = { maybe: "string" };
  return {
    version: "int",
    at: "long",
    kind: { symbols: words.kinds },
    actor: "string",
    recipient: text,
    event_type: text,
    purpose: text,
    declaration: { maybe: HASH },
    delivery: { maybe: ID },
    grant: { maybe: ID },
    grant_version: { maybe: "int" },
    fields: { maybe: "bytes" },
    reason: { maybe: { symbols: words.reasons } },
    basis: text,
    sealed_to: { maybe: HASH },
    count: { maybe: "int" },
    subject: { maybe: HASH },
    detail: { maybe: HASH },
  };
}

function facts_of(raw, words) {
  const told = record(raw, facts_fields(words));
  must(told.version === 2, "entry.version");
  for (const name of words.required[told.kind] ?? []) must(told[name] !== null, "entry.incomplete");
  return told;
}

/** The bytes of a plan, to which a planned or released entry commits. */
function plan_of(facts) {
  return joined(
    PLAN.flatMap((name) => {
      const value = facts[name];
      must(value !== null, "entry.incomplete");
      if (name === "grant_version") return [varint(BigInt(value))];
      if (["declaration", "delivery", "grant"].includes(name)) return [value];
      const raw = name === "fields" ? value : utf8.encode(value);
      return [varint(BigInt(raw.length)), raw];
    }),
  );
}

function kind_of(facts, words) {
  if (facts.kind === "answered") return TO_REPAIR.has(facts.reason) ? "closed" : "fact";
  if (facts.kind === "withheld") return facts.delivery === null ? "fact" : "closed";
  if (words.open.includes(facts.kind)) return "open";
  return STEPS[facts.kind] ?? "fact";
}

/** The facts of an entry, proven to be its own. */
async function opened(entry, raw, words) {
  must(entry.version === 2, "entry.version");
  must((entry.tag !== null) === TAGGED.has(entry.kind), "entry.shape");
  must((entry.content !== null) === PLANNED.has(entry.kind), "entry.shape");
  must((entry.facts !== null) === (entry.kind !== "open"), "entry.shape");
  must((entry.open !== null) === (entry.kind === "open"), "entry.shape");
  if (entry.open !== null) {
    must(raw === null, "entry.shape");
    const told = facts_of(entry.open, words);
    must(words.open.includes(told.kind) && PERSONAL.every((name) => told[name] === null), "entry.not-public");
    return told;
  }
  must(raw !== null, "receipt.no-opening");
  const opening = record(raw, OPENING);
  const facts = facts_of(opening.facts, words);
  must(kind_of(facts, words) === entry.kind, "entry.other-opening");
  const label = utf8.encode("unefois/ledger-facts/v2\0");
  must(same(await sha256(label, opening.blind, opening.facts), entry.facts), "entry.other-opening");
  must((opening.plan_blind !== null) === (entry.content !== null), "entry.other-opening");
  if (entry.content !== null) {
    const planned = await sha256(utf8.encode("unefois/ledger-plan/v2\0"), opening.plan_blind, plan_of(facts));
    must(same(planned, entry.content), "entry.other-opening");
  }
  return facts;
}

// ── notes, checkpoints, inclusion ─────────────────────────────────────────────────────────────────────────────────

/** A verifier key: `<name>+<key id>+<base64 of type and public key>`. */
export async function key_of(text) {
  const found = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  must(found, "note.key-malformed");
  const raw = fromBase64(found[3], "note.key-malformed");
  if (raw[0] !== 1) throw new Unchecked("note.key-type");
  must(raw.length === 33, "signing.public-key-length");
  const id = (await sha256(utf8.encode(`${found[1]}\n`), raw)).subarray(0, 4);
  must(hex(id) === found[2], "note.key-id-differs");
  return { name: found[1], id, public: raw.subarray(1) };
}

async function signed(algorithm, publicKey, signature, body) {
  const ed25519 = algorithm === 1;
  const kind = ed25519 ? { name: "Ed25519" } : { name: "ECDSA", namedCurve: "P-256" };
  if (!ed25519 && algorithm !== 3) throw new Unchecked("signing.algorithm"); // ML-DSA-44
  must(signature.length === 64, "signing.signature");
  let key;
  try {
    key = await crypto.subtle.importKey("raw", publicKey, kind, false, ["verify"]);
  } catch (fault) {
    if (fault?.name === "NotSupportedError" || crypto.subtle === undefined) throw new Unchecked("signing.browser");
    must(false, "signing.key");
  }
  return crypto.subtle.verify(ed25519 ? kind : { name: "ECDSA", hash: "SHA-256" }, key, signature, body);
}

/** A signed note: the text goes to the last empty line. */
function note_of(text) {
  must(!/[\x00-\x09\x0b-\x1f]/.test(text), "note.control-character");
  const end = text.lastIndexOf("\n\n");
  must(end >= 0 && text.endsWith("\n") && text.length > end + 2, "note.no-signature");
  const lines = text.slice(end + 2, -1).split("\n");
  must(lines.length <= 100, "note.too-many-signatures");
  return {
    text: text.slice(0, end + 1),
    lines: lines.map((line) => {
      const found = /^— ([^\s+]+) (\S+)$/.exec(line);
      must(found, "note.signature-line");
      const raw = fromBase64(found[2], "note.signature-line");
      must(raw.length > 4, "note.signature-line");
      return { name: found[1], id: raw.subarray(0, 4), signature: raw.subarray(4) };
    }),
  };
}

/** How many of a note's lines are other people's: they are not checked here. */
async function verify_note(note, key) {
  const mine = note.lines.filter((line) => line.name === key.name && same(line.id, key.id));
  must(mine.length > 0, "checkpoint.not-signed");
  for (const line of mine) {
    must(await signed(1, key.public, line.signature, utf8.encode(note.text)), "note.bad-signature");
  }
  return note.lines.length - mine.length;
}

function tree_of(text) {
  const lines = text.split("\n");
  must(lines.length >= 4 && lines.pop() === "", "checkpoint.lines");
  const root = fromBase64(lines[2], "checkpoint.root");
  must(root.length === 32 && lines.slice(3).every((line) => line !== ""), "checkpoint.root");
  return { origin: lines[0], size: decimal(lines[1], "checkpoint.size"), root };
}

async function verify_inclusion(leaf, index, tree, hashes) {
  must(index < tree.size, "merkle.index");
  let [here, last, seen] = [index, tree.size - 1n, leaf];
  for (const sibling of hashes) {
    must(last !== 0n, "merkle.proof-length");
    if (here & 1n || here === last) {
      seen = await sha256(Uint8Array.of(1), sibling, seen);
      while (!(here & 1n) && here !== 0n) [here, last] = [here >> 1n, last >> 1n];
    } else {
      seen = await sha256(Uint8Array.of(1), seen, sibling);
    }
    [here, last] = [here >> 1n, last >> 1n];
  }
  must(last === 0n, "merkle.proof-length");
  must(same(seen, tree.root), "merkle.root-differs");
}

// ── a receipt of the ledger ───────────────────────────────────────────────────────────────────────────────────────

function proof_of(plain) {
  const at = plain.indexOf(`\n${HEADER}\n`);
  must(at >= 0, "receipt.no-proof");
  const below = plain.slice(at + 1);
  const blank = below.indexOf("\n\n");
  must(blank >= 0, "proof.malformed");
  const lines = below.slice(0, blank).split("\n").slice(1);
  must(lines.length >= 2 && lines[0].startsWith("extra ") && lines[1].startsWith("index "), "receipt.no-entry");
  must(lines.length <= 65, "proof.too-many-hashes");
  const hashes = lines.slice(2).map((line) => fromBase64(line, "proof.hash"));
  must(hashes.every((one) => one.length === 32), "proof.hash");
  const entry = fromBase64(lines[0].slice(6), "proof.extra");
  return { entry, index: decimal(lines[1].slice(6), "proof.index"), hashes, note: note_of(below.slice(blank + 2)), text: below };
}

function shown(name, value, facts, words, language, older) {
  if (name === "kind") return `${value}: ${words.meanings[value][language]}`;
  if (name === "at") return new Date(Number(value)).toISOString();
  if (name === "fields") {
    return Array.from({ length: value.length * 8 }, (_, at) => at)
      .filter((at) => value[at >> 3] & (0x80 >> (at & 7)))
      .join(", ");
  }
  if (name === "grant" || (name === "delivery" && !older)) {
    return hex(value).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
  if (value instanceof Uint8Array) return hex(value);
  return name === "reason" ? value.replaceAll("_", "-") : String(value);
}

function meaning(facts, words, language, older) {
  return words.labels
    .filter(([name]) => facts[name] !== null)
    .map(([name, label]) => [label[language], shown(name, facts[name], facts, words, language, older)]);
}

function written(facts, opening, proof, tree, words, language, older) {
  const lines = meaning(facts, words, language, older).map(([label, text]) => `  ${label.padEnd(words.column)}${text}\n`);
  const filled = {
    title: words.titles[language].replace("{version}", () => "2"),
    origin: tree.origin,
    index: String(proof.index),
    facts: lines.join(""),
    opening: opening === null ? "" : words.openings[language].replace("{opening}", () => base64Of(opening)),
  };
  const above = words.frames[language].replace(/\{(title|origin|index|facts|opening)\}/g, (_, name) => filled[name]);
  return above + proof.text;
}

function opening_of(plain, words, language) {
  const [before, after] = words.openings[language].split("{opening}");
  const at = plain.indexOf(before);
  const end = at < 0 ? -1 : plain.indexOf(after, at + before.length);
  must(end >= 0, "receipt.no-opening");
  return fromBase64(plain.slice(at + before.length, end), "receipt.no-opening");
}

/**
 * A receipt's facts, proven by the ledger's key alone. `raw`: the file's bytes; `key`: the ledger's verifier key;
 * `words`: the sentences that a receipt may have. Throws Refused, Unchecked.
 */
export async function check_ledger(raw, key, words) {
  must(raw.length <= 2 * MOST, "receipt.too-long");
  const plain = text_of(raw, "receipt.not-a-receipt").replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
  must(plain.length <= MOST, "receipt.too-long");
  const title = plain.split("\n", 1)[0];
  const language = Object.keys(words.titles).find((one) => words.titles[one].replace("{version}", "2") === title);
  if (language === undefined) { // 1
    const first = Object.values(words.titles).some((one) => one.replace("{version}", "1") === title);
    if (first) throw new Unchecked("receipt.first-format");
    must(false, "receipt.not-a-receipt");
  }
  const log = await key_of(key);
  const proof = proof_of(plain); // 2 the proof has one spelling
  const entry = record(proof.entry, ENTRY); // 3 the entry has one spelling
  const opening = entry.open === null ? opening_of(plain, words, language) : null;
  const facts = await opened(entry, opening, words); // 4 an opening of another entry, or one that was made up
  const tree = tree_of(proof.note.text);
  must(tree.origin === log.name, "checkpoint.other-log"); // 5 another log
  const others = await verify_note(proof.note, log); // 6 a checkpoint that anybody wrote
  await verify_inclusion(await sha256(Uint8Array.of(0), proof.entry), proof.index, tree, proof.hashes); // 7
  const spellings = [false, true].map((older) => written(facts, opening, proof, tree, words, language, older));
  must(spellings.includes(plain), "receipt.meaning-differs"); // 8 a false sentence above a true proof
  const lines = meaning(facts, words, language, false);
  return { lines, origin: tree.origin, index: String(proof.index), size: String(tree.size), unchecked: others };
}

// ── a receipt of a consent ────────────────────────────────────────────────────────────────────────────────────────

function json_of(raw, code) {
  try {
    return JSON.parse(typeof raw === "string" ? raw : text_of(raw, code));
  } catch {
    must(false, code);
  }
}

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** The directory that the ledger's key has signed: `{directory, note}`. */
async function directory_of(told, log) {
  must(typeof told?.directory === "string" && typeof told?.note === "string", "directory.malformed");
  const note = note_of(told.note);
  const found = /^unefois-directory\/v1\n([^\n]+)\nversion \d+\nsha256 ([A-Za-z0-9+/]{43}=)\nprevious [A-Za-z0-9+/]{43}=\n$/.exec(note.text);
  must(found && found[1] === log.name, "directory.note");
  await verify_note(note, log);
  must(base64Of(await sha256(utf8.encode(told.directory))) === found[2], "directory.note-differs");
  return json_of(told.directory, "directory.malformed");
}

/** The key, if it is the broker's and was good at this instant, in milliseconds. */
function check_signer(directory, entry, at) {
  must(entry.party === directory.broker, "directory.key-of-another-party");
  must(entry.revoked_at === null || at < entry.revoked_at, "directory.key-revoked");
  must(entry.valid_from <= at, "directory.key-not-yet-valid");
  must(entry.valid_to === null || at <= entry.valid_to, "directory.key-expired");
}

/**
 * What the broker has certified of a consent, by a key of the directory that the ledger's key has signed. `directory`:
 * `{directory, note}`. Throws as `check_ledger`.
 */
export async function check_consent(raw, key, directory) {
  must(raw.length <= 262_144, "consent-receipt.too-large");
  const envelope = json_of(raw, "consent-receipt.not-json");
  const signatures = envelope?.signatures;
  must(Array.isArray(signatures) && signatures.length === 1, "consent-receipt.envelope");
  must(envelope.payloadType === PAYLOAD_TYPE, "consent-receipt.payload-type"); // 1
  must(canonical(envelope) === text_of(raw, "consent-receipt.not-json").trimEnd(), "consent-receipt.envelope");
  const payload = fromBase64(String(envelope.payload), "consent-receipt.envelope");
  const signature = fromBase64(String(signatures[0].sig), "consent-receipt.envelope");
  const log = await key_of(key);
  const believed = await directory_of(directory, log);
  const entry = believed.signing.find((one) => one.kid === signatures[0].keyid); // 2
  must(entry !== undefined, "consent-receipt.other-key");
  const publicKey = from_hex(entry.public);
  must(hex(await sha256(Uint8Array.of(entry.algorithm), publicKey)) === entry.kid, "directory.malformed");
  const body = joined([utf8.encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload]);
  must(await signed(entry.algorithm, publicKey, signature, body), "consent-receipt.signature"); // 3
  const document = json_of(payload, "consent-receipt.not-json");
  must(/^urn:unefois:consent-receipt:v[12]$/.test(document.schema_version), "consent-receipt.schema-version");
  must(canonical(document) === text_of(payload, "consent-receipt.not-json"), "consent-receipt.not-canonical"); // 4
  await check_derived(document);
  check_signer(believed, entry, Date.parse(document.events[0].event_time));
  return document;
}

async function check_derived(document) {
  const version = new Uint8Array(4);
  new DataView(version.buffer).setUint32(0, document.record_version);
  const named = [from_hex(document.record_id.replaceAll("-", "")), version, from_hex(document.ledger_entry)];
  const digest = hex(await sha256(utf8.encode("unefois/consent-receipt/v1\0"), ...named));
  must(digest.slice(0, 32) === document.receipt_id, "consent-receipt.not-canonical");
}

// ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function lines_of_consent(document, said) {
  const [purpose] = document.pii_processing.purposes;
  const [controller] = document.party_identification;
  const [event] = document.events;
  return [
    [said.recipient, controller.party_name],
    [said.purpose, purpose.purpose.label],
    [said.fields, purpose.pii_information.map((one) => one.pii_type).join(", ")],
    [said.state, said.states[document.status] ?? document.status],
    [said.at, event.event_time],
    [said.until, event.validity_duration.until ?? said.never],
    [said.text, document.pii_processing.privacy_notice.sha256],
  ];
}

async function checked(raw, key, told) {
  const consent = raw.find((byte) => byte > 32) === 123; // a brace: JSON
  if (consent) return { lines: lines_of_consent(await check_consent(raw, key, told.directory), told.said), unchecked: 0 };
  const found = await check_ledger(raw, key, told.words);
  const place = `${found.origin}, ${found.index} / ${found.size}`;
  return { lines: [...found.lines, [told.said.place, place]], unchecked: found.unchecked };
}

function show(result, colour, title, sentences, lines) {
  const alert = element("div", null, { class: "ds-alert", "data-color": colour });
  alert.append(element("h2", title, { class: "ds-heading", "data-size": "xs" }));
  for (const one of sentences) alert.append(element("p", one));
  const list = element("dl", null, { class: "u-summary" });
  for (const [name, value] of lines) {
    const row = element("div", null);
    row.append(element("dt", name), element("dd", value));
    list.append(row);
  }
  result.replaceChildren(alert, ...(lines.length > 0 ? [list] : []));
  result.focus();
}

async function answer(form, result, told) {
  const { said } = told;
  const [file] = form.elements.recu.files;
  if (file === undefined) return show(result, "warning", said.no_file, [said.no_file_what], []);
  try {
    const found = await checked(new Uint8Array(await file.arrayBuffer()), form.elements.cle.value, told);
    const beside = found.unchecked > 0 ? [said.others] : [];
    return show(result, "success", said.good, [said.good_what, ...beside], found.lines);
  } catch (fault) {
    if (fault instanceof Unchecked) return show(result, "warning", said.unchecked, [said.unchecked_what], []);
    const code = fault instanceof Refused ? fault.message : "receipt.not-a-receipt";
    return show(result, "danger", said.bad, [said.bad_what, `${said.code} ${code}`], []);
  }
}

const form = globalThis.document?.getElementById("verifier");
if (form) {
  const told = JSON.parse(document.getElementById("donnees").textContent);
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(form, document.getElementById("resultat"), told);
  });
}
