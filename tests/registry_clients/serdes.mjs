// Confluent's serializers and deserializers for npm, on lines of stdin.
//
// serdes.mjs <registry> <modules> <AVRO|JSON|PROTOBUF> <topic> <message or ""> write <prefix|header>
//     values as JSON -> {"value": base64, "headers": {name: base64}}
// serdes.mjs <registry> <modules> <AVRO|JSON|PROTOBUF> <topic> <message or ""> read
//     the same the other way round
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [url, modules, format, topic, message, does, place] = process.argv.slice(2);
const require = createRequire(`${modules}/here.js`);
const confluent = require("@confluentinc/schemaregistry");
const protobuf = require("@bufbuild/protobuf");

const client = new confluent.SchemaRegistryClient({ baseURLs: [url] });
const { VALUE } = confluent.SerdeType;

/** Type, registry of types, and conversions to and from the JSON of people. */
async function types() {
  if (format !== "PROTOBUF") return { from: (json) => json, to: (value) => value };
  // What generated code would have: the descriptors of the newest schema.
  const newest = await client.getLatestSchemaMetadata(`${topic}-value`, "serialized");
  const file = await new confluent.ProtobufDeserializer(client, VALUE, {}).toFileDesc(client, newest);
  const registry = protobuf.createRegistry(file, ...file.dependencies);
  const type = registry.getMessage(message);
  return {
    registry: protobuf.createMutableRegistry(type),
    from: (json) => protobuf.fromJson(type, json, { registry }),
    to: (value) => protobuf.toJson(type, value, { registry }),
  };
}

const [Serializer, Deserializer] = {
  AVRO: [confluent.AvroSerializer, confluent.AvroDeserializer],
  JSON: [confluent.JsonSerializer, confluent.JsonDeserializer],
  PROTOBUF: [confluent.ProtobufSerializer, confluent.ProtobufDeserializer],
}[format];
// The client asks for references of references without saying in which format, and gets text.
const whole = async function (client, { references }, found, form) {
  for (const { name, subject, version } of references ?? []) {
    const referred = await client.getSchemaMetadata(subject, version, true, form);
    found.set(name, referred.schema);
    await this.resolveReferences(client, referred, found, form);
  }
};
for (const serde of [Serializer, Deserializer]) serde.prototype.resolveReferences = whole;

const { registry, from, to } = await types();
const schemaIdSerializer = place === "header" ? confluent.HeaderSchemaIdSerializer : confluent.PrefixSchemaIdSerializer;
// Formats are annotations, as for Heddle.
const checks = { validate: true, validateFormats: false };
const conf = { useLatestVersion: true, ...checks, ...(registry && { registry }) };
const writer = new Serializer(client, VALUE, { ...conf, schemaIdSerializer });
const reader = new Deserializer(client, VALUE, checks);

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const each = (headers, convert) => Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, convert(value)]));
for await (const line of createInterface({ input: process.stdin })) {
  if (does === "write") {
    const headers = {};
    const value = await writer.serialize(topic, from(JSON.parse(line)), headers);
    console.log(JSON.stringify({ value: base64(value), headers: each(headers, base64) }));
  } else {
    const { value, headers } = JSON.parse(line);
    const bytes = (text) => Buffer.from(text, "base64");
    console.log(JSON.stringify(to(await reader.deserialize(topic, bytes(value), each(headers, bytes)))));
  }
}
