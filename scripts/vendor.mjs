// node scripts/vendor.mjs FROM TO: copy the modules that pages load from node_modules.
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FILES = { "chart.js": "dist/chart.umd.min.js" };

const [from, to] = process.argv.slice(2);
mkdirSync(to, { recursive: true });
for (const [name, file] of Object.entries(FILES)) {
  const { version } = JSON.parse(readFileSync(join(from, name, "package.json"), "utf8"));
  copyFileSync(join(from, name, file), join(to, name));
  console.log(`  ${name} ${version}`);
}
