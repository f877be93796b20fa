module.exports = {
  title: "zoo",
  url: "https://zoo.example",
  baseUrl: "/",
  presets: [["classic", { docs: { routeBasePath: "/" }, blog: false }]],
};
