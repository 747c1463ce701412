// node scripts/vendor.mjs FROM TO: copy the modules that pages load from node_modules.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FILES = {
  "socket.io-client.js": ["socket.io-client", "dist/socket.io.esm.min.js"],
};

const [from, to] = process.argv.slice(2);
mkdirSync(to, { recursive: true });
for (const [name, [source, file]] of Object.entries(FILES)) {
  const { version } = JSON.parse(readFileSync(join(from, source, "package.json"), "utf8"));
  const code = readFileSync(join(from, source, file), "utf8");
  // The map is not served, and collectstatic fails on a reference to a file that is not there.
  writeFileSync(join(to, name), code.replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n"));
  console.log(`  ${source} ${version}`);
}
