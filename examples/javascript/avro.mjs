// Avro, as much as a delivery needs: the schemas of protocol 4 and 6, and a reader that refuses what is left over.
const sized = (size) => ({ type: "fixed", size });
const record = (...fields) => ({ type: "record", fields: fields.map(([name, type]) => ({ name, type })) });
const array = (items) => ({ type: "array", items });
const SIGNATURES = array(record(["kid", sized(32)], ["signature", "bytes"]));

export const MANIFEST = record(["version", "int"], ["source", "string"], ["event_type", "string"], ["schema", sized(32)],
  ["declaration_id", sized(16)], ["issued_at", "long"], ["not_after", "long"], ["corrects", ["null", sized(16)]],
  ["signer", sized(32)], ["signature_policy", "int"], ["routing", sized(32)], ["digests", "bytes"]);
export const LOCKED = record(["version", "int"], ["delivery_id", sized(16)], ["recipient", "string"], ["purpose", "string"],
  ["grant_id", sized(16)], ["grant_version", "int"], ["payload", "bytes"], ["signatures", SIGNATURES],
  ["fields", array(record(["index", "int"], ["sealed", "bytes"]))], ["gate_kid", sized(32)], ["locked_dek", "bytes"]);
export const STATEMENT = record(["delivery_id", sized(16)], ["recipient", "string"], ["declaration_id", sized(16)],
  ["manifest", sized(32)], ["fields", "bytes"], ["sealed", sized(32)], ["purpose", "string"], ["basis", "string"],
  ["grant_id", sized(16)], ["grant_version", "int"], ["pseudonym", "bytes"], ["pseudonym_version", "int"],
  ["released_at", "long"], ["ledger_entry", sized(32)]);
export const KEY_RELEASE = record(["suite", "int"], ["recipient_kid", sized(32)], ["sealed", "bytes"]);
export const RELEASES = record(["releases", array(record(["statement", "bytes"], ["kid", sized(32)], ["signature", "bytes"],
  ["keys", array(sized(32))]))]);

export const decode = (schema, bytes) => new Reader(bytes, schema).whole(schema);

export class Reader {
  constructor(bytes, schema) {
    this.bytes = bytes;
    this.at = 0;
    this.named = new Map();
    this.learn(schema);
  }

  learn(type) {
    if (Array.isArray(type)) type.forEach((each) => this.learn(each));
    else if (typeof type === "object") {
      if (type.name && type.type !== "array") this.named.set(type.name, type);
      (type.fields ?? []).forEach((each) => this.learn(each.type));
      if (type.items) this.learn(type.items);
      if (typeof type.type === "object") this.learn(type.type);
    }
  }

  whole(type) {
    const value = this.value(type);
    if (this.at !== this.bytes.length) throw new Error("bytes are left over");
    return value;
  }

  value(type) {
    if (Array.isArray(type)) return this.value(type[Number(this.long())]);
    const kind = typeof type === "string" ? type : type.type;
    if (typeof kind === "object") return this.value(kind);
    switch (kind) {
      case "null": return null;
      case "boolean": return this.take(1)[0] === 1;
      case "int": return Number(this.long());
      case "long": return this.long();
      case "bytes": return this.take(Number(this.long()));
      case "string": return this.take(Number(this.long())).toString("utf8");
      case "fixed": return this.take(type.size);
      case "enum": return type.symbols[Number(this.long())];
      case "array": return this.items(type.items);
      case "record": return Object.fromEntries(type.fields.map((each) => [each.name, this.value(each.type)]));
      default: return this.value(this.named.get(kind));
    }
  }

  items(type) {
    const out = [];
    for (let count = Number(this.long()); count !== 0; count = Number(this.long())) {
      if (count < 0) throw new Error("a block with a size is not how these are written");
      for (let n = 0; n < count; n++) out.push(this.value(type));
    }
    return out;
  }

  long() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(this.take(1)[0]);
      value |= (byte & 0x7fn) << shift;
      if (byte < 0x80n) return (value >> 1n) ^ -(value & 1n);
      if (shift > 63n) throw new Error("too long for a number");
    }
  }

  take(size) {
    if (!(size >= 0) || this.at + size > this.bytes.length) throw new Error("it ends too early");
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
}

const varint = (value) => {
  const out = [];
  for (let left = value * 2; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...out, left]);
    out.push((left % 128) | 0x80);
  }
};

// What the statement's `sealed` is the hash of: the fields of a delivery, as Avro writes them.
export function sealedSet(fields) {
  const parts = fields.flatMap(({ index, sealed }) => [varint(index), varint(sealed.length), sealed]);
  return Buffer.concat(fields.length ? [varint(fields.length), ...parts, varint(0)] : [varint(0)]);
}
