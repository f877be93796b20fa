const server = Bun.serve({ fetch: () => new Response("zoo") });
console.log(`${server.url}`);
