const { HtmlRspackPlugin } = require("@rspack/core");
module.exports = { mode: "development", entry: "./src/index.js", plugins: [new HtmlRspackPlugin({ title: "zoo" })] };
