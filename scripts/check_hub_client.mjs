// Lists and downloads from a hub with npm's @huggingface/hub and compares with the folder that hub serves:
// node check_hub_client.mjs HUB_URL FOLDER    (FOLDER/<user>/<repo>/<files>)
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { downloadFile, fileDownloadInfo, fileExists, listFiles, listModels, modelInfo } from "@huggingface/hub";

const [hubUrl, folder] = process.argv.slice(2);
let checks = 0;
function check(what, ok) {
  checks++;
  if (!ok) {
    console.log(`wrong: ${what}`);
    process.exitCode = 1;
  }
}
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
function filesBelow(path) {
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(join(path, entry.name)) : [join(path, entry.name)]);
}

for (const user of readdirSync(folder)) {
  for (const name of readdirSync(join(folder, user))) {
    const repo = `${user}/${name}`;
    const root = join(folder, user, name);
    const wanted = new Map(filesBelow(root).map((path) => [relative(root, path), path]));

    const info = await modelInfo({ name: repo, revision: "main", additionalFields: ["sha"], hubUrl });
    check(`${repo}: name of the repository`, info.name === repo);
    check(`${repo}: commit`, /^[0-9a-f]{40}$/.test(info.sha));

    const listed = new Map();
    for await (const entry of listFiles({ repo, recursive: true, revision: info.sha, hubUrl })) {
      check(`${repo}: ${entry.path} is a file`, entry.type === "file");
      listed.set(entry.path, entry);
    }
    check(`${repo}: the same files`, [...wanted.keys()].sort().join() === [...listed.keys()].sort().join());

    for (const [path, local] of wanted) {
      const bytes = readFileSync(local);
      const entry = listed.get(path);
      check(`${path}: size`, entry?.size === statSync(local).size);
      if (path.endsWith(".gguf")) {
        check(`${path}: lfs.oid`, entry?.lfs?.oid === sha256(bytes) && entry.lfs.size === bytes.length);
      }
      const head = await fileDownloadInfo({ repo, path, revision: info.sha, hubUrl });
      check(`${path}: size by resolve`, head?.size === bytes.length);
      const blob = await downloadFile({ repo, path, revision: info.sha, hubUrl });
      check(`${path}: bytes`, blob !== null && sha256(Buffer.from(await blob.arrayBuffer())) === sha256(bytes));
      // A part of it goes by Range.
      const part = Buffer.from(await blob.slice(1, 9).arrayBuffer());
      check(`${path}: a range`, part.equals(bytes.subarray(1, 9)));
      check(`${path}: exists`, await fileExists({ repo, path, revision: info.sha, hubUrl }));
    }
    check(`${repo}: no such file`, (await downloadFile({ repo, path: "none.gguf", hubUrl })) === null);

    const found = [];
    for await (const model of listModels({ search: { query: name, tags: ["gguf"] }, sort: "downloads", limit: 5, hubUrl })) {
      found.push(model.name);
    }
    check(`${repo}: found by search`, found.includes(repo));
  }
}
const failure = await modelInfo({ name: "nobody/nothing", revision: "main", hubUrl }).then(() => null, (error) => error);
check("no such repository", failure?.statusCode === 401);

console.log(`${checks} answers of the hub double checked with @huggingface/hub`);
