// Parses an AsyncAPI document with AsyncAPI's own parser, and prints one line for each thing it says.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Parser } from "@asyncapi/parser";

const path = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"), { source: path });
for (const { severity, code, message, path: where } of diagnostics) {
  console.log(`${["error", "warning", "info", "hint"][severity]} ${code} ${where.join(".")}: ${message}`);
}
if (!document || diagnostics.some(({ severity }) => severity < 2)) {
  process.exit(1);
}
for (const operation of document.operations().all()) {
  for (const message of operation.messages().all()) {
    console.log(`ok ${operation.id()} ${operation.channels().all()[0].address()} ${message.payload().json().title}`);
  }
}
