// Reads JSON lines {schema, value}; prints for each a JSON line {version: [problem, …]} of every published
// version of the types that has that schema. Asked to {keep}, what each version reads instead: null for nothing.
import * as current from "@roo-code/types";
import * as bridge from "roo-types-bridge";
import { createInterface } from "node:readline";

const VERSIONS = { "1.115.0": current, "1.89.0": bridge };

for await (const line of createInterface({ input: process.stdin })) {
  const { schema, value, keep } = JSON.parse(line);
  const problems = {};
  for (const [version, types] of Object.entries(VERSIONS)) {
    if (!types[schema]) continue;
    const { success, error, data } = types[schema].safeParse(value);
    if (keep) problems[version] = success ? data : null;
    else problems[version] = success ? [] : error.issues.map((i) => `${i.path.join(".")}: ${i.message}`);
  }
  console.log(JSON.stringify(problems));
}
