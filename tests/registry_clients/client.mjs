// Tests two npm clients against the registry at the address in the first argument. The second is the modules' folder.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [url, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/here.js`);
const { SchemaRegistry, SchemaType, COMPATIBILITY } = require("@kafkajs/confluent-schema-registry");
const confluent = require("@confluentinc/schemaregistry");

const ORDER = { type: "record", name: "Order", namespace: "npm", fields: [{ name: "id", type: "string" }] };
const WIDER = { ...ORDER, fields: [...ORDER.fields, { name: "code", type: ["null", "string"], default: null }] };
const BROKEN = { ...ORDER, fields: [...ORDER.fields, { name: "price", type: "double" }] };

async function kafkajs() {
  const registry = new SchemaRegistry({ host: url, clientId: "heddle" });
  const register = (schema) =>
    registry.register({ type: SchemaType.AVRO, schema: JSON.stringify(schema) }, { subject: "npm.orders-value", compatibility: COMPATIBILITY.FULL });
  const { id } = await register(ORDER);
  const bytes = await registry.encode(id, { id: "O-1" });
  assert.deepEqual({ ...(await new SchemaRegistry({ host: url }).decode(bytes)) }, { id: "O-1" });
  const wider = await register(WIDER);
  assert.notEqual(wider.id, id);
  assert.equal(await registry.getLatestSchemaId("npm.orders-value"), wider.id);
  assert.equal(await registry.getRegistryId("npm.orders-value", 1), id);
  await assert.rejects(register(BROKEN), /incompatible/i);
  const json = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
  const payment = await registry.register({ type: SchemaType.JSON, schema: JSON.stringify(json) }, { subject: "npm.json-value" });
  assert.deepEqual(await registry.decode(await registry.encode(payment.id, { n: 7 })), { n: 7 });
  const proto = 'syntax = "proto3"; package npm; message Note { string text = 1; }';
  const note = await registry.register({ type: SchemaType.PROTOBUF, schema: proto }, { subject: "npm.proto-value" });
  assert.equal((await registry.decode(await registry.encode(note.id, { text: "hello" }))).text, "hello");
}

async function confluentinc() {
  const { SchemaRegistryClient, AvroSerializer, AvroDeserializer, JsonSerializer, JsonDeserializer, SerdeType } = confluent;
  const client = () => new SchemaRegistryClient({ baseURLs: [url] });
  const one = client();
  const id = await one.register("inc.orders-value", { schema: JSON.stringify(ORDER), schemaType: "AVRO" });
  assert.equal((await one.getLatestSchemaMetadata("inc.orders-value")).id, id);
  const write = new AvroSerializer(one, SerdeType.VALUE, { useLatestVersion: true });
  const read = new AvroDeserializer(client(), SerdeType.VALUE, {});
  assert.deepEqual({ ...(await read.deserialize("inc.orders", await write.serialize("inc.orders", { id: "O-1" }))) }, { id: "O-1" });
  assert.equal(await one.testSubjectCompatibility("inc.orders-value", { schema: JSON.stringify(BROKEN), schemaType: "AVRO" }), false);
  await assert.rejects(one.register("inc.orders-value", { schema: JSON.stringify(BROKEN), schemaType: "AVRO" }), /409|incompatible/i);
  assert.equal(await one.updateCompatibility("inc.orders-value", "FULL"), "FULL");
  assert.equal(await one.getCompatibility("inc.orders-value"), "FULL");
  const json = JSON.stringify({ type: "object", properties: { n: { type: "integer" } }, required: ["n"] });
  await one.register("inc.json-value", { schema: json, schemaType: "JSON" });
  const writeJson = new JsonSerializer(one, SerdeType.VALUE, { useLatestVersion: true });
  const readJson = new JsonDeserializer(client(), SerdeType.VALUE, {});
  assert.deepEqual(await readJson.deserialize("inc.json", await writeJson.serialize("inc.json", { n: 7 })), { n: 7 });
  assert.deepEqual(await one.getAllVersions("inc.orders-value"), [1]);
  assert.deepEqual(await one.deleteSubject("inc.orders-value"), [1]);
  await assert.rejects(client().getLatestSchemaMetadata("inc.orders-value"), /404|not found/i);
}

for (const test of [kafkajs, confluentinc]) {
  await test();
  console.log(`${test.name}: ok`);
}
