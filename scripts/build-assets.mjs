// Builds what the pages load: styles and scripts from assets/ and npm, with a name by content, packed beside, and a manifest that maps plain names to those.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import * as sass from "sass";

const out = "src/angelia/web/static";
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const manifest = {};

function put(name, content) {
  const [stem, ending] = [name.slice(0, name.lastIndexOf(".")), name.slice(name.lastIndexOf("."))];
  const made = `${stem}-${createHash("sha256").update(content).digest("hex").slice(0, 10)}${ending}`;
  writeFileSync(join(out, made), content);
  const packed = gzipSync(content, { level: 9 });
  if (packed.length < 0.9 * content.length) writeFileSync(join(out, `${made}.gz`), packed);
  manifest[name] = made;
}

const quiet = { silenceDeprecations: ["import", "global-builtin", "color-functions", "if-function"], quietDeps: true };
const styles = sass.compile("assets/angelia.scss", { loadPaths: ["node_modules"], style: "compressed", ...quiet });
put("angelia.css", styles.css);

for (const script of readdirSync("assets").filter((name) => name.endsWith(".js"))) {
  const made = await build({
    entryPoints: [join("assets", script)], bundle: true, minify: true, write: false, format: "iife", target: "es2022", legalComments: "none", logLevel: "warning",
  });
  put(basename(script), made.outputFiles[0].text);
}
for (const image of readdirSync("assets").filter((name) => name.endsWith(".svg"))) put(image, readFileSync(join("assets", image)));
mkdirSync(join(out, "licences"));
for (const library of ["bootstrap", "htmx.org", "sortablejs", "uplot"]) cpSync(join("node_modules", library, "LICENSE"), join(out, "licences", `${library}.txt`));
writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 2));
