const HtmlPlugin = require("html-webpack-plugin");
module.exports = { entry: "./src/index.js", plugins: [new HtmlPlugin({ title: "zoo" })] };
