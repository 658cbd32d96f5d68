// Validates texts sampled by lm_grammar_samples with ajv: node check_grammar.mjs SCHEMAS.json SAMPLES.jsonl
import { readFileSync } from "node:fs";
import Ajv2020 from "ajv/dist/2020.js";
import Ajv7 from "ajv";
import addFormats from "ajv-formats";

const [schemasFile, samplesFile] = process.argv.slice(2);
const schemas = JSON.parse(readFileSync(schemasFile, "utf8"));
const options = { strict: false, allErrors: false, validateSchema: false, logger: false,
  multipleOfPrecision: 6 };
// ajv-formats' e-mail expression knows no quoted local parts and no address literals (RFC 5321), and
// its date-times no leap seconds with an offset: those two are checked as plain strings.
const looser = new Set(["email", "idn-email"]);

// Formats that lm does not enforce are remarks here too.
const remarks = ["regex", "relative-json-pointer"];

let cut = 0, valid = 0, wrong = 0, failed = 0, without = 0, done = 0, refused = 0;
for (const line of readFileSync(samplesFile, "utf8").split("\n").filter(Boolean)) {
  const { index, name, texts, skipped: why, failed: failures, warning, cut: cutHere } = JSON.parse(line);
  if (why !== undefined) {
    without++;
    console.log(`no texts: ${name}: ${why}`);
    continue;
  }
  done++;
  cut += cutHere ?? 0;
  for (const failure of failures ?? []) {
    failed++;
    console.log(`not ended: ${name}: ${failure}`);
  }
  const { schema, dialect } = schemas[index];
  // A keyword that lm names as not enforced can't be held against its texts.
  if (warning !== undefined && !warning.includes("format is")) {
    refused++;
    continue;
  }
  const ajv = dialect === "draft-07" ? new Ajv7(options) : new Ajv2020(options);
  addFormats(ajv);
  for (const format of [...looser, ...remarks]) ajv.addFormat(format, true);
  const validate = ajv.compile(schema);
  for (const text of texts) {
    let value;
    try {
      value = JSON.parse(text);
    } catch (e) {
      wrong++;
      console.log(`no JSON: ${name}: ${text}`);
      continue;
    }
    if (validate(value)) {
      valid++;
    } else {
      wrong++;
      console.log(`invalid: ${name}: ${text}: ${ajv.errorsText(validate.errors)}`);
    }
  }
}
console.log(
  `${done} schemas sampled (${refused} of them with a keyword that is not enforced: not validated), ` +
    `${without} that allow no text; ${valid} of ${valid + wrong} texts valid, ${failed} in a dead end, ${cut} whose end is too far away`,
);
process.exit(wrong + failed === 0 && valid > 0 ? 0 : 1);
